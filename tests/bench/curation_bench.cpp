// Speed of curation on one core, in processor time: `curation_bench captions.txt` (one caption a line; it
// repeats them to a million). Text rules without and with language and scene graph, the parser alone,
// counting n-grams, export.
#include <sys/resource.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "worker/data/ngram_counts.h"
#include "worker/data/tar_writer.h"
#include "worker/stages/filter/measure_stage.h"
#include "worker/stages/filter/rules.h"
#include "worker/text/words.h"

namespace {

using namespace trireme;
using namespace trireme::worker;

double processor_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

template <class Run>
void measure(const char* what, const char* unit, double amount, const Run& run) {
  const double start = processor_seconds();
  run();
  const double seconds = processor_seconds() - start;
  std::printf("%-44s %12.0f %s/s of one core\n", what, amount / seconds, unit);
}

std::vector<std::string> captions_of(const char* path, std::size_t count) {
  std::vector<std::string> lines, out;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) lines.push_back(line);
  for (std::size_t i = 0; !lines.empty() && i < count; ++i) out.push_back(lines[i % lines.size()]);
  return out;
}

void rules(const std::vector<std::string>& captions, const data::NgramCounts& counts, bool language,
           bool parse) {
  jobs::MeasureSettings measures;
  measures.language = language;
  measures.parse = parse;
  measures.ngrams = true;
  stages::filter::RuleBook book;
  book.settings.min_ngram_count = 2;
  if (language) book.settings.languages = {"en"};
  if (parse) book.settings.min_complexity = book.settings.min_actions = 1;
  const text::CaptionParser parser(text::Lexicon::standard());
  std::int64_t kept = 0;
  std::vector<stages::filter::SampleFacts> samples;
  for (const auto& caption : captions) {
    stages::filter::SampleFacts sample{"", 640, 480, {}, 1};
    sample.captions.push_back(stages::filter::caption_facts(caption, measures, nullptr, &counts, &parser));
    kept += stages::filter::judge(sample, book).kept ? 1 : 0;
  }
  std::printf("  (%lld of %zu kept)\n", static_cast<long long>(kept), captions.size());
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "usage: curation_bench captions.txt\n");
    return 2;
  }
  const auto captions = captions_of(arguments[1], 200000);
  const auto folder = std::filesystem::temp_directory_path() / "trireme-curation-bench";
  std::filesystem::create_directories(folder);
  data::NgramTally tally(folder / "run", 8, std::size_t{256} << 20);
  double ngrams = 0;
  for (const auto& caption : captions) ngrams += 2 * static_cast<double>(text::unigrams(caption).size()) - 1;
  measure("counting n-grams, words split included", "n-grams", ngrams, [&] {
    for (const auto& caption : captions) tally.add_words(text::unigrams(caption));
    tally.finish();
  });
  std::vector<data::NgramRun> runs;
  runs.emplace_back(folder / "run");
  std::vector<std::string> paths;
  measure("merging them", "n-grams", static_cast<double>(tally.distinct()), [&] {
    for (std::int64_t p = 0; p < 8; ++p) {
      paths.push_back((folder / ("counts" + std::to_string(p))).string());
      data::write_ngram_counts(runs, p, 8, paths.back());
    }
  });
  const data::NgramCounts counts(paths);
  const auto all = static_cast<double>(captions.size());
  measure("text rules: words, rare n-grams", "captions", all, [&] { rules(captions, counts, false, false); });
  measure("and complexity, action", "captions", all, [&] { rules(captions, counts, false, true); });
  measure("and language", "captions", all, [&] { rules(captions, counts, true, true); });
  const text::CaptionParser parser(text::Lexicon::standard());
  measure("parser, complexity, action", "captions", all, [&] {
    text::ParsedCaption parsed;
    std::int64_t sum = 0;
    for (const auto& caption : captions) {
      parser.parse(caption, parsed);
      sum += text::complexity(parsed, true) + static_cast<std::int64_t>(parsed.actions.size());
    }
    std::printf("  (%lld)\n", static_cast<long long>(sum));
  });
  const std::string picture(40000, 'x');
  measure("writing tars", "MB", 20000 * 0.0407, [&] {
    data::TarWriter tar(folder / "out.tar");
    for (int i = 0; i < 20000; ++i) {
      char key[16];
      std::snprintf(key, sizeof key, "%09d", i);
      tar.add(std::string(key) + ".jpg", picture);
      tar.add(std::string(key) + ".json", "{\"key\": 1}");
      tar.add(std::string(key) + ".txt", captions[static_cast<std::size_t>(i) % captions.size()]);
    }
    tar.finish();
  });
  std::filesystem::remove_all(folder);
}

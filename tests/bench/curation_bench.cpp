// Speed of curation on one core, in processor time: `curation_bench captions.txt [pictures.tar]`. Captions
// (one a line, repeated to 200,000): text rules without and with language and scene graph, the parser alone,
// the share that its C keeps, near-duplicates, counting n-grams, export. Pictures: decode at scale, hash and
// the cheap look for text together and by themselves, then as the filter spots text, with Tesseract where a
// line was found; and how many of the pictures come so far.
#include <sys/resource.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "common/io/file.h"
#include "jobs/store/tar_scan.h"
#include "worker/data/images/image.h"
#include "worker/data/images/image_signature.h"
#include "worker/data/shards/tar_writer.h"
#include "worker/data/tallies/near_captions.h"
#include "worker/data/tallies/ngram_counts.h"
#include "worker/spotting/spot_text.h"
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

void near_captions(const std::vector<std::string>& captions, const std::filesystem::path& folder) {
  const data::RangeOfSamples range{(folder / "signatures").string(), "train", 0};
  const auto all = static_cast<double>(captions.size());
  measure("shingles of captions", "captions", all, [&] {
    std::vector<data::ShingledSample> samples;
    for (std::size_t i = 0; i < captions.size(); ++i)
      samples.push_back({static_cast<std::uint32_t>(i), data::shingles_of({text::unigrams(captions[i])}, 2)});
    data::write_shingles(range.path, samples);
  });
  measure("near-duplicate captions", "captions", all, [&] {
    const data::NearCaptions samples({range}, 0.7);
    const auto pairs = data::write_near_pairs(
        samples, 0, 1, [] {}, folder / "pairs");
    std::printf("  (%lld pairs)\n", static_cast<long long>(pairs));
  });
}

std::vector<std::string> pictures_of(const char* path) {
  const io::MappedFile file{io::Path(path)};
  const std::string_view tar(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  std::vector<std::string> pictures;
  store::scan_tar(tar, [&](const store::TarMember& member) {
    std::string bytes(tar.substr(member.offset, member.size));
    data::ImageInfo info;
    if (data::image_info(bytes, info).empty()) pictures.push_back(std::move(bytes));
  });
  return pictures;
}

// Half as many pixels a side as text is read with, as the filter looks at pictures first.
data::Image looked_at(const std::string& bytes) {
  data::ImageInfo info;
  data::Image picture;
  if (data::image_info(bytes, info).empty())
    data::decode_image(bytes, {.least_side_px = std::min({std::int64_t{512}, info.width, info.height}) / 2},
                       picture);
  return picture;
}

void images(const std::vector<std::string>& pictures) {
  const auto all = static_cast<double>(pictures.size());
  std::size_t bits = 0, may = 0, found = 0;
  for (int again = 0; again < 2; ++again) {  // the first pass reads the pictures into memory
    may = 0;
    measure("image pass: decode at scale, hash, cheap look", "images", all, [&] {
      for (const auto& bytes : pictures) {
        const data::Image picture = looked_at(bytes);
        bits += data::image_signature(picture).bits & 1;
        may += spotting::may_have_text(picture.rgb.data(), picture.width, picture.height, false) ? 1 : 0;
      }
    });
  }
  std::vector<data::Image> decoded;
  measure("  decode at scale alone", "images", all, [&] {
    for (const auto& bytes : pictures) decoded.push_back(looked_at(bytes));
  });
  measure("  hash alone", "images", all, [&] {
    for (const auto& picture : decoded) bits += data::image_signature(picture).bits & 1;
  });
  measure("  cheap look alone", "images", all, [&] {
    for (const auto& picture : decoded)
      bits += spotting::may_have_text(picture.rgb.data(), picture.width, picture.height, false) ? 1 : 0;
  });
  std::size_t reached = 0;
  spotting::Spotter spotter;
  const auto spot = [&](bool read) {
    for (const auto& bytes : pictures) {
      data::Image picture = looked_at(bytes);
      if (!spotting::may_have_text(picture.rgb.data(), picture.width, picture.height, false)) continue;
      data::decode_image(bytes, {.least_side_px = 512}, picture);
      const std::uint8_t* rgb = picture.rgb.data();
      if (read) {
        found += spotting::spot_text(rgb, picture.width, picture.height, spotter, 0.3).empty() ? 0 : 1;
      } else {
        const auto lines = [&](const spotting::Plane& plane) {
          return !spotting::find_text_lines(plane).empty();
        };
        reached += lines(spotting::luma_of(rgb, picture.width, picture.height)) ||
                           lines(spotting::blueness_of(rgb, picture.width, picture.height))
                       ? 1
                       : 0;
      }
    }
  };
  measure("spotting without Tesseract", "images", all, [&] { spot(false); });
  measure("spotting with Tesseract", "images", all, [&] { spot(true); });
  std::printf(
      "  of %zu pictures %.1f %% are looked at in full, %.1f %% reach Tesseract, it reads something in %.1f "
      "%% (%zu)\n",
      pictures.size(), 100 * static_cast<double>(may) / all, 100 * static_cast<double>(reached) / all,
      100 * static_cast<double>(found) / all, bits & 1);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "usage: curation_bench captions.txt [pictures.tar]\n");
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
    std::int64_t complex = 0, active = 0;
    for (const auto& caption : captions) {
      parser.parse(caption, parsed);
      complex += text::complexity(parsed, true) >= 1 ? 1 : 0;
      active += parsed.actions.empty() ? 0 : 1;
    }
    std::printf("  (C of at least 1 keeps %.2f %%, %.2f %% have an action)\n",
                100 * static_cast<double>(complex) / all, 100 * static_cast<double>(active) / all);
  });
  near_captions(captions, folder);
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
  if (count > 2) images(pictures_of(arguments[2]));
}

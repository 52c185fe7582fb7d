// Captions per CPU second of a tokenizer on one core. The peer is Hugging Face's tokenizers (Rust) in the
// same run: tests/bench/tokenizers.py.
//
//   tokenizers_bench <kind> <vocabulary> <captions[.gz]> [rounds]
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "worker/text/tokenizers/tokenizer.h"
#include "worker/text/tokenizers/vocabulary_file.h"
#include "worker/text/tokenizers/vocabulary_trainer.h"

namespace trireme::worker::text {
namespace {

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

int train(const std::string& pieces, const std::vector<std::string>& captions) {
  VocabularyRules rules;
  rules.size = std::atoll(pieces.c_str());
  const double start = cpu_seconds();
  WordTally tally;
  BertWords words;
  for (const std::string& caption : captions) {
    split_bert_words(caption, {}, words);
    tally.add(words);
  }
  std::vector<WordCount> counts;
  for (const auto& [word, count] : tally.counts()) counts.push_back({word, count});
  const std::size_t made = train_vocabulary(counts, rules).size();
  std::printf("{\"kind\": \"train\", \"cpu_s\": %.4f, \"pieces\": %zu}\n", cpu_seconds() - start, made);
  return 0;
}

int run(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("tokenizers_bench <kind> <vocabulary> <captions[.gz]> [rounds]\n", stderr);
    return 2;
  }
  const std::vector<std::string> captions = read_vocabulary_lines(argv[3]);
  if (std::string(argv[1]) == "train") return train(argv[2], captions);
  const auto kind = from_name<jobs::TokenizerKind>(argv[1]);
  if (!kind) return 2;
  const auto tokenizer = make_tokenizer({*kind, argv[2]});
  const int rounds = argc > 4 ? std::atoi(argv[4]) : 5;
  std::size_t tokens = 0;
  const double start = cpu_seconds();
  for (int round = 0; round < rounds; ++round)
    for (const std::string& caption : captions) tokens += tokenizer->encode(caption, 1 << 20).ids.size();
  const double seconds = cpu_seconds() - start;
  std::printf("{\"kind\": \"%s\", \"captions_per_cpu_s\": %.0f, \"tokens\": %zu}\n", argv[1],
              static_cast<double>(captions.size()) * rounds / seconds,
              tokens / static_cast<std::size_t>(rounds));
  return 0;
}

}  // namespace
}  // namespace trireme::worker::text

int main(int argc, char** argv) {
  return trireme::worker::text::run(argc, argv);
}

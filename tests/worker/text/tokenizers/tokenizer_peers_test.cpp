// Every caption of Multi30k in four languages and 100,000 fuzzed strings, against hashes that
// tests/oracles/record_tokenizers.py recorded from open_clip and Hugging Face's tokenizers.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "common/io/hash.h"
#include "worker/text/tokenizers/tokenizer.h"
#include "worker/text/tokenizers/vocabulary_file.h"
#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

const std::string kSource = TRIREME_SOURCE_DIR;
constexpr int kPerBlock = 2000;

std::string from_environment(const char* name, const std::string& otherwise) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

// nullptr when the vocabulary is not installed.
std::unique_ptr<Tokenizer> make_variant(const std::string& variant) {
  const bool clip = variant.starts_with("clip");
  jobs::TokenizerSpec options;
  options.kind = clip ? jobs::TokenizerKind::kClipBpe : jobs::TokenizerKind::kWordPiece;
  options.vocabulary = from_environment("TRIREME_WEIGHTS", kSource + "/.trireme/weights") +
                       (clip ? "/clip-merges.txt.gz" : "/minilm-vocab.txt");
  options.lower_case = !variant.ends_with("_cased");
  if (variant == "bert_accents") options.strip_accents = false;
  options.repair_text = variant == "clip_repaired";
  options.split_ideographs = variant != "bert_runs";
  return std::filesystem::exists(options.vocabulary) ? make_tokenizer(options) : nullptr;
}

struct Digests {
  std::string ids, decoded;
};

Digests digests(const Tokenizer& tokenizer, const std::vector<std::string>& captions) {
  Digests all;
  for (const std::string& caption : captions) {
    const Tokens tokens = tokenizer.encode(caption, 1 << 20);
    for (std::size_t i = 0; i < tokens.ids.size(); ++i) {
      if (i > 0) all.ids += ' ';
      all.ids += std::to_string(tokens.ids[i]);
    }
    all.ids += '\n';
    all.decoded += tokenizer.decode(tokens.ids) + "\n";
  }
  return {io::sha256_hex(all.ids), io::sha256_hex(all.decoded)};
}

class Random {
 public:
  std::uint64_t below(std::uint64_t bound) {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return ((z ^ (z >> 31)) >> 33) % bound;
  }

 private:
  std::uint64_t state_ = 1;
};

void append_character(std::string& text, Random& random) {
  const std::uint64_t kind = random.below(10);
  const std::uint64_t code_point = kind < 3   ? 0x20 + random.below(0x5f)
                                   : kind < 5 ? random.below(0x250)
                                   : kind < 7 ? 0x250 + random.below(0x2eb0)
                                   : kind < 9 ? 0x3100 + random.below(0x1cf00)
                                              : random.below(0x110000);
  const bool surrogate = code_point >= 0xd800 && code_point < 0xe000;
  append_code_point(text, surrogate ? 'x' : static_cast<std::int32_t>(code_point));
}

std::string fuzzed(Random& random, const std::vector<std::string>& words) {
  static const std::vector<std::string> spaces{" ", "\t", "\n", "\xc2\xa0", "\xe3\x80\x80", "\x1f"};
  std::string text;
  for (std::uint64_t left = random.below(14); left > 0; --left) {
    const std::uint64_t kind = random.below(100);
    if (kind < 55) {
      text += words[random.below(words.size())];
    } else if (kind < 90) {
      for (std::uint64_t more = 1 + random.below(5); more > 0; --more) append_character(text, random);
    } else if (kind < 95) {
      text += "&#" + std::to_string(random.below(0x120000)) + ";";
    } else {
      std::ostringstream hex;
      hex << std::hex << random.below(0x300);
      text += "&#x" + hex.str();
    }
    if (random.below(2) != 0) text += spaces[random.below(spaces.size())];
  }
  return text;
}

std::vector<std::vector<std::string>> golden_lines(const std::string& kind) {
  std::ifstream golden(kSource + "/tests/golden/tokenizers.txt");
  std::vector<std::vector<std::string>> found;
  for (std::string line; std::getline(golden, line);) {
    std::istringstream fields(line);
    std::vector<std::string> words;
    for (std::string word; fields >> word;) words.push_back(word);
    if (!words.empty() && words[0] == kind) found.push_back(words);
  }
  EXPECT_FALSE(found.empty()) << kind;
  return found;
}

TEST(TokenizerPeers, Multi30kInFourLanguages) {
  const std::string folder = from_environment("TRIREME_SHARED", kSource + "/../shared") + "/data/multi30k/";
  std::size_t captions_seen = 0;
  for (const auto& line : golden_lines("file")) {
    if (!std::filesystem::exists(folder + line[2])) GTEST_SKIP() << "no " << folder << ": set TRIREME_SHARED";
    const auto tokenizer = make_variant(line[1]);
    if (!tokenizer)
      GTEST_SKIP() << "weights are not installed: run ./quickstart build, or set TRIREME_WEIGHTS";
    const std::vector<std::string> captions = read_vocabulary_lines(folder + line[2]);
    EXPECT_EQ(std::to_string(captions.size()), line[3]);
    const Digests made = digests(*tokenizer, captions);
    EXPECT_EQ(made.ids, line[4]) << line[1] << " " << line[2];
    EXPECT_TRUE(line[5] == "-" || line[5] == made.decoded) << line[1] << " " << line[2];
    captions_seen += captions.size();
  }
  EXPECT_EQ(captions_seen, 2u * 4u * 31014u + 29000u + 4u * 2014u);
}

TEST(TokenizerPeers, AHundredThousandFuzzedStrings) {
  const std::vector<std::string> words = read_vocabulary_lines(kSource + "/tests/golden/fuzz_words.txt");
  std::map<std::string, std::vector<std::string>> ids, decoded;
  for (const auto& line : golden_lines("fuzz")) ids[line[1]] = {line.begin() + 2, line.end()};
  for (const auto& line : golden_lines("decode")) decoded[line[1]] = {line.begin() + 2, line.end()};
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
  for (const auto& [variant, expected] : ids) {
    tokenizers[variant] = make_variant(variant);
    if (!tokenizers[variant]) GTEST_SKIP() << "weights are not installed: set TRIREME_WEIGHTS";
    ASSERT_EQ(expected.size(), 50u);
  }
  Random random;
  for (std::size_t block = 0; block < 50; ++block) {
    std::vector<std::string> captions;
    for (int i = 0; i < kPerBlock; ++i) captions.push_back(fuzzed(random, words));
    for (const auto& [variant, tokenizer] : tokenizers) {
      const Digests made = digests(*tokenizer, captions);
      EXPECT_EQ(made.ids.substr(0, 16), ids[variant][block]) << variant << ", block " << block;
      if (block < decoded[variant].size()) {
        EXPECT_EQ(made.decoded.substr(0, 16), decoded[variant][block]) << variant << ", block " << block;
      }
    }
  }
}

}  // namespace
}  // namespace trireme::worker::text

#include "worker/text/tokenizers/vocabulary_trainer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/io/hash.h"
#include "worker/text/tokenizers/tokenizer.h"
#include "worker/text/tokenizers/vocabulary_file.h"

namespace trireme::worker::text {
namespace {

using Pieces = std::vector<std::string>;
const std::string kSource = TRIREME_SOURCE_DIR;

std::vector<WordCount> counted(const WordTally& tally) {
  std::vector<WordCount> words;
  for (const auto& [word, count] : tally.counts()) words.push_back({word, count});
  return words;
}

TEST(VocabularyTrainer, FollowedByHand) {
  // Pairs: (##a,##b) 9, (x,##a) 5, (##b,##b) 4, (y,##a) 4. After ##ab: (x,##ab) 5, (y,##ab) 4 before
  // (##ab,##b) 4, for y has the smaller id.
  VocabularyRules rules;
  rules.marks = {"[UNK]"};
  rules.size = 100;
  EXPECT_EQ(train_vocabulary({{"xab", 5}, {"yabb", 4}}, rules),
            (Pieces{"[UNK]", "a", "b", "x", "y", "##a", "##b", "##ab", "xab", "yab", "yabb"}));
  rules.min_count = 5;
  EXPECT_EQ(train_vocabulary({{"xab", 5}, {"yabb", 4}}, rules).back(), "xab");
  rules.min_count = 1;
  rules.size = 8;
  EXPECT_EQ(train_vocabulary({{"xab", 5}, {"yabb", 4}}, rules).back(), "##ab");
  rules.most_characters = 2;  // a and b; what is left of the words goes on with them
  EXPECT_EQ(train_vocabulary({{"xab", 5}, {"yabb", 4}}, rules),
            (Pieces{"[UNK]", "a", "b", "##a", "##b", "##ab", "##abb"}));
}

TEST(VocabularyTrainer, RunsOfOneLetter) {
  VocabularyRules rules;
  rules.marks = {};
  EXPECT_EQ(train_vocabulary({{"aaaaa", 3}}, rules), (Pieces{"a", "##a", "##aa", "aaa", "aaaaa"}));
  EXPECT_EQ(train_vocabulary({}, rules), Pieces{});
}

TEST(VocabularyTrainer, NoRoomForTheCharacters) {
  VocabularyRules rules;
  rules.size = 6;
  EXPECT_THROW(train_vocabulary({{"ab", 1}}, rules), Error);
  rules.size = 8;
  EXPECT_EQ(train_vocabulary({{"ab", 1}}, rules).size(), 8u);
}

// Order of the words does not matter, and every word of the corpus can be written with the pieces.
TEST(VocabularyTrainer, OrderOfWordsDoesNotMatter) {
  RandomStream random(7, RandomPurpose::kTest);
  std::map<std::string, std::uint64_t> distinct;
  for (int i = 0; i < 400; ++i) {
    std::string word;
    for (std::uint64_t n = 1 + random.below(9); n > 0; --n) word += static_cast<char>('a' + random.below(5));
    distinct[word] += 1 + random.below(3);
  }
  std::vector<WordCount> words;
  for (const auto& [word, count] : distinct) words.push_back({word, count});
  VocabularyRules rules;
  rules.size = 120;
  const Pieces expected = train_vocabulary(words, rules);
  EXPECT_EQ(expected.size(), 120u);
  for (int i = 0; i < 5; ++i) {
    for (std::size_t j = words.size() - 1; j > 0; --j) std::swap(words[j], words[random.below(j + 1)]);
    EXPECT_EQ(train_vocabulary(words, rules), expected);
  }
  Pieces unique = expected;
  std::ranges::sort(unique);
  EXPECT_TRUE(std::ranges::adjacent_find(unique) == unique.end());
}

// Against Hugging Face's trainer (tests/oracles/record_vocabularies.py): every piece, in the same order.
TEST(VocabularyTrainer, EqualsThePeerOnMulti30k) {
  const char* const shared = std::getenv("TRIREME_SHARED");
  const std::string folder =
      (shared != nullptr ? std::string(shared) : kSource + "/../shared") + "/data/multi30k/";
  std::ifstream golden(kSource + "/tests/golden/vocabularies.txt");
  ASSERT_TRUE(golden);
  int cases = 0;
  for (std::string line; std::getline(golden, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line), files;
    std::string names, with, expected;
    std::int64_t limit = 0;
    std::size_t pieces = 0;
    VocabularyRules rules;
    fields >> names >> rules.size >> rules.min_count >> limit >> with >> pieces >> expected;
    if (limit > 0) rules.most_characters = limit;
    BertRules split;
    if (with == "lowercase=0") split.lower_case = split.strip_accents = false;
    if (with == "strip_accents=0") split.strip_accents = false;
    WordTally tally;
    BertWords words;
    files.str(names);
    for (std::string name; std::getline(files, name, '+');) {
      if (!std::filesystem::exists(folder + name + ".gz"))
        GTEST_SKIP() << "no " << folder << ": set TRIREME_SHARED";
      for (const std::string& caption : read_vocabulary_lines(folder + name + ".gz")) {
        split_bert_words(caption, split, words);
        tally.add(words);
      }
    }
    std::string text;
    const Pieces made = train_vocabulary(counted(tally), rules);
    for (const std::string& piece : made) text += piece + "\n";
    EXPECT_EQ(made.size(), pieces) << line;
    EXPECT_EQ(io::sha256_hex(text), expected) << line;
    ++cases;
  }
  EXPECT_EQ(cases, 5);
}

class WordCountFiles : public ::testing::Test {
 protected:
  WordCountFiles() { std::filesystem::create_directories(folder_); }
  ~WordCountFiles() override { std::filesystem::remove_all(folder_); }
  std::string file(const std::string& name) const { return (folder_ / name).string(); }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("trireme-words-" + std::to_string(::getpid()));
};

TEST_F(WordCountFiles, ExactForAnySplit) {
  RandomStream random(3, RandomPurpose::kTest);
  std::map<std::string, std::uint64_t> truth;
  std::vector<BertWords> captions(300);
  for (auto& caption : captions) {
    std::string text;
    for (int i = 0; i < 12; ++i) {
      const std::string word = "w" + std::to_string(random.below(90));
      text += word + " ";
      ++truth[word];
    }
    split_bert_words(text, {}, caption);
  }
  std::string first_bytes;
  for (const std::size_t parts : {1u, 4u, 300u}) {
    constexpr std::int64_t kPartitions = 3;
    std::vector<WordCountsFile> maps;
    for (std::size_t part = 0; part < parts; ++part) {
      WordTally tally;
      for (std::size_t i = part; i < captions.size(); i += parts) tally.add(captions[i]);
      write_word_counts(file("map"), tally, kPartitions);
      maps.emplace_back(file("map"));
    }
    std::map<std::string, std::uint64_t> found;
    std::string bytes;
    MergedWords sums;
    for (std::int64_t partition = 0; partition < kPartitions; ++partition) {
      const MergedWords one = merge_word_counts(maps, partition, kPartitions, file("merged"));
      sums.distinct += one.distinct;
      sums.words += one.words;
      const WordCountsFile merged(file("merged"));
      for (std::int64_t i = 0; i < kPartitions; ++i)
        for (const auto& entry : merged.partition(i)) {
          EXPECT_EQ(i, partition);
          EXPECT_TRUE(found.emplace(entry.word, entry.count).second);
        }
      bytes += io::read_file(file("merged"));
    }
    EXPECT_EQ(found, truth);
    EXPECT_EQ(sums.distinct, truth.size());
    EXPECT_EQ(sums.words, 3600u);
    if (first_bytes.empty()) first_bytes = bytes;
    EXPECT_EQ(bytes, first_bytes);
  }
}

TEST_F(WordCountFiles, EveryFlippedByteIsFound) {
  BertWords words;
  split_bert_words("one two two three", {}, words);
  WordTally tally;
  tally.add(words);
  write_word_counts(file("words"), tally, 2);
  const std::string bytes = io::read_file(file("words"));
  const auto read_all = [&](const std::string& damaged) {
    io::write_file_atomic(file("damaged"), damaged, false);
    const WordCountsFile opened(file("damaged"));
    for (std::int64_t i = 0; i < opened.partitions(); ++i) opened.partition(i);
  };
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    EXPECT_THROW(read_all(damaged), Error) << at;
    EXPECT_THROW(read_all(bytes.substr(0, at)), Error) << at;
  }
  EXPECT_THROW(read_all(bytes + "x"), Error);
  EXPECT_NO_THROW(read_all(bytes));
  EXPECT_THROW(write_word_counts(file("none"), tally, 0), Error);
}

}  // namespace
}  // namespace trireme::worker::text

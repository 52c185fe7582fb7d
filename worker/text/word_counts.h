// How often each word of a corpus occurs, by hash partition (Word counts in jobs/protocol/FORMAT.md): map
// tasks write what they saw, merge tasks add up one partition of all files. Exact; bytes depend on the
// counted words only. A word belongs to partition xxh3-64 mod partitions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/io/file.h"
#include "worker/text/tokenizers/bert_words.h"

namespace trireme::worker::text {

struct WordCount {
  std::string word;
  std::uint64_t count = 0;
  bool operator==(const WordCount&) const = default;
};

class WordTally {
 public:
  void add(const BertWords& words);
  void add(const std::string& word);
  const std::unordered_map<std::string, std::uint64_t>& counts() const { return counts_; }
  std::uint64_t words() const { return words_; }

 private:
  std::unordered_map<std::string, std::uint64_t> counts_;
  std::uint64_t words_ = 0;
};

// 1 to 4096 partitions, kInvalid otherwise.
void write_word_counts(const io::Path& path, const WordTally& tally, std::int64_t partitions);

// A file of word counts, mapped; header and partitions are verified when read. Throws kDamaged naming it.
class WordCountsFile {
 public:
  explicit WordCountsFile(const io::Path& path);
  std::int64_t partitions() const { return partitions_; }
  // Words of a partition in the order of their bytes; views live as long as the file.
  struct Entry {
    std::string_view word;
    std::uint64_t count;
  };
  std::vector<Entry> partition(std::int64_t index) const;

 private:
  io::MappedFile file_;
  std::int64_t partitions_ = 0;
};

struct MergedWords {
  std::uint64_t distinct = 0, words = 0;
};
// One partition of all files, added up, to a file whose other partitions are empty. kInvalid when a file has
// another number of partitions.
MergedWords merge_word_counts(const std::vector<WordCountsFile>& files, std::int64_t partition,
                              std::int64_t partitions, const io::Path& path);

}  // namespace trireme::worker::text

// Exact distinct counts over image–text pairs by hash partitions (Pair counts in jobs/protocol/FORMAT.md):
// how many different images share a text, and how many different texts an image has (ALIGN's rules 4 and 2).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/file.h"
#include "common/io/hash.h"

namespace trireme::worker::data {

// kText: key = text, others = images. kImage: key = image, others = texts.
enum class PairFamily { kText = 0, kImage = 1 };

struct Pair {
  io::Hash128 text;   // xxh3-128 of text::normalized_text()
  io::Hash128 image;  // xxh3-128 of the encoded image
};

struct PairRecord {
  io::Hash128 key, other;
  auto operator<=>(const PairRecord&) const = default;
};

// Writes a `.pairs` file; returns the number of distinct pairs. Order and repetition of `pairs` do not
// matter.
std::int64_t write_pairs(const io::Path& path, const std::vector<Pair>& pairs, std::int64_t partitions);

// A `.pairs` file, mapped. Throws kDamaged naming file and part.
class PairsFile {
 public:
  explicit PairsFile(const io::Path& path);
  std::int64_t partitions() const { return partitions_; }

  // Sorted, distinct records of one partition, verified by this call; they live as long as the file.
  class Segment {
   public:
    Segment(const std::uint8_t* data, std::uint64_t count) : data_(data), count_(count) {}
    std::uint64_t size() const { return count_; }
    PairRecord operator[](std::uint64_t index) const;

   private:
    const std::uint8_t* data_;
    std::uint64_t count_;
  };
  Segment segment(PairFamily family, std::int64_t partition) const;

 private:
  io::MappedFile file_;
  std::int64_t partitions_ = 0;
};

struct PairCount {
  io::Hash128 key;
  std::uint64_t others = 0;
};

struct MergedCounts {
  std::uint64_t keys = 0;           // distinct keys of the partition
  std::vector<PairCount> repeated;  // keys with 2 others or more, sorted
};
// One partition of all files, merged as sorted runs: memory grows with the files and with `repeated` only.
MergedCounts merge_pairs(const std::vector<PairsFile>& files, PairFamily family, std::int64_t partition);

// Writes a `.counts` file: one partition, both families.
void write_counts(const io::Path& path, std::int64_t partition, std::int64_t partitions,
                  const std::vector<PairCount>& texts, const std::vector<PairCount>& images);

// The counts of all partitions, mapped. Thread-safe.
class PairCounts {
 public:
  // Throws kDamaged for a damaged file; kInvalid unless the files are each partition exactly once.
  explicit PairCounts(const std::vector<std::string>& paths);
  // Distinct others of a key; 1 for a key that is not listed (seen once, or never).
  std::uint64_t others(PairFamily family, const io::Hash128& key) const;

 private:
  std::vector<io::MappedFile> partition_;
};

}  // namespace trireme::worker::data

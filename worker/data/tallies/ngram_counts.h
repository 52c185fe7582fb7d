// Exact counts of words and pairs of neighbouring words over a corpus (ALIGN rule 5; N-gram counts in
// jobs/protocol/FORMAT.md): a tally per task that spills when its memory is full, and the merged counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "worker/data/tallies/ngram_runs.h"

namespace trireme::worker::data {

// Counts strings within `memory_bytes`; what does not fit lies in sorted runs beside `output` until finish().
// The bytes of the result depend on the counted strings only, never on memory or order.
class NgramTally {
 public:
  NgramTally(io::Path output, std::int64_t partitions, std::size_t memory_bytes);
  ~NgramTally();
  NgramTally(const NgramTally&) = delete;
  NgramTally& operator=(const NgramTally&) = delete;

  // Every word, and every two neighbours joined by a blank.
  void add_words(const std::vector<std::string>& words);
  void add(std::string_view ngram);
  void finish();  // writes `output`, a run

  std::int64_t counted() const { return counted_; }
  std::int64_t distinct() const { return distinct_; }  // after finish()
  std::int64_t spills() const { return static_cast<std::int64_t>(runs_.size()); }

 private:
  struct Slot {
    std::uint64_t hash = 0, count = 0, at = 0;
    std::uint32_t length = 0;
  };
  void spill();
  void write_sorted(NgramRunWriter& writer);
  void grow();

  io::Path output_;
  std::int64_t partitions_;
  std::size_t memory_bytes_;
  std::vector<Slot> slots_;
  std::size_t used_ = 0;
  std::string pool_, joined_;
  std::vector<io::Path> runs_;
  std::int64_t counted_ = 0, distinct_ = 0;
};

// Merges one partition of all runs into a `.ngram_counts` file; returns the number of its n-grams.
std::int64_t write_ngram_counts(const std::vector<NgramRun>& runs, std::int64_t partition,
                                std::int64_t partitions, const io::Path& path);

// Which n-grams are frequent enough: those with more than `count` occurrences, and those with just `count`
// that come no later than `last` in byte order (no value: all of them).
struct NgramCut {
  std::uint64_t count = 0;
  std::optional<std::string> last;
  bool keeps(std::uint64_t occurrences, std::string_view ngram) const {
    return occurrences > count || (occurrences == count && (!last || ngram <= *last));
  }
};

// The rarest n-gram of a text: fewest occurrences, then last in byte order.
struct RarestNgram {
  std::uint64_t count = 0;
  std::string ngram;  // "" for a text without words
};

// The counts of all partitions, mapped. Thread-safe.
class NgramCounts {
 public:
  // Throws kDamaged for a damaged file; kInvalid unless the files are each partition exactly once.
  explicit NgramCounts(const std::vector<std::string>& paths);
  std::uint64_t count(std::string_view ngram) const;  // 0 for one that never occurs
  RarestNgram rarest(const std::vector<std::string>& words) const;
  std::int64_t distinct() const;

  // All unigrams and bigrams in one list by count, ties by bytes; the first `most` are kept (METHODS 3.1).
  NgramCut cut(std::int64_t most) const;

 private:
  std::vector<io::MappedFile> files_;
};

}  // namespace trireme::worker::data

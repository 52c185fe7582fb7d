// Sorted runs of counted strings on disk: what the tally of n-grams spills and hands on (N-gram counts in
// jobs/protocol/FORMAT.md). A run has P partitions by hash; inside one, records rise by (hash, bytes).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/file.h"
#include "common/io/hash.h"

namespace trireme::worker::data {

struct NgramRecord {
  std::uint64_t hash = 0;  // xxh3-64 of the bytes
  std::uint64_t count = 0;
  std::string_view ngram;
};

inline std::int64_t ngram_partition(std::uint64_t hash, std::int64_t partitions) {
  return static_cast<std::int64_t>((hash >> 20) % static_cast<std::uint64_t>(partitions));
}

// Writes one run, front to back.
class NgramRunWriter {
 public:
  NgramRunWriter(const io::Path& path, std::int64_t partitions);
  void add(const NgramRecord& record);  // of the partition in hand
  void end_partition();
  void finish(bool durable);  // after the last partition

 private:
  struct Segment {
    std::uint64_t offset = 0, bytes = 0, records = 0, xxh3 = 0;
  };
  io::FileWriter writer_;
  std::vector<Segment> segments_;
  Segment open_;
  std::string pending_;
  std::unique_ptr<io::Xxh3> hash_;
  void flush();
};

// A run, mapped. Throws kDamaged naming file and part; each partition is verified when it is asked for.
class NgramRun {
 public:
  explicit NgramRun(const io::Path& path);
  std::int64_t partitions() const { return partitions_; }
  const io::Path& path() const { return file_.path(); }
  std::string_view segment(std::int64_t partition) const;

 private:
  io::MappedFile file_;
  std::int64_t partitions_ = 0;
  std::uint64_t table_ = 0;
};

// The record that starts at `at`, which moves behind it; false at the end. Throws kDamaged naming `path`.
bool next_record(std::string_view segment, std::size_t& at, NgramRecord& record, const io::Path& path);

// One partition of all runs, merged: every n-gram once with its counts added up, in order. Memory: one cursor
// per run.
void merge_ngrams(const std::vector<NgramRun>& runs, std::int64_t partition,
                  const std::function<void(const NgramRecord&)>& visit);

}  // namespace trireme::worker::data

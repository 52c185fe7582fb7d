// Samples that are equal in image, text or both, exactly (Duplicates in jobs/protocol/FORMAT.md): hashes per
// range, then per hash partition the first sample of every group of two or more. "First" is the order of the
// data sets as the stage lists them, then of the manifest.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/file.h"
#include "common/io/hash.h"

namespace trireme::worker::data {

enum class SameIn { kImage = 0, kText = 1, kPair = 2 };
inline constexpr std::size_t kSameInCount = 3;
SameIn same_in_from_name(std::string_view name);  // "image", "text", "pair"

struct SampleHash {
  io::Hash128 hash;
  std::uint32_t sample = 0;  // position in its shard
  auto operator<=>(const SampleHash&) const = default;
};
using SampleHashes = std::array<std::vector<SampleHash>, kSameInCount>;

// The hashes of one sample: its encoded image; its captions, normalised, one a line; both. A sample without
// text has no hash of text.
std::array<std::optional<io::Hash128>, kSameInCount> sample_hashes(
    std::string_view image, const std::vector<std::string>& normalized);

// Writes a `.hashes` file.
void write_hashes(const io::Path& path, SampleHashes hashes, std::int64_t partitions);

struct RangeOfHashes {
  std::string path, data;
  std::int64_t shard = 0;  // in the manifest of `data`
};

struct DuplicateCounts {
  std::int64_t groups = 0, copies = 0;  // groups of two or more; members beyond the first
};
// Merges one partition of all ranges, given in order, into a `.duplicates` file. Per family.
std::array<DuplicateCounts, kSameInCount> write_duplicates(const std::vector<RangeOfHashes>& ranges,
                                                           std::int64_t partition, std::int64_t partitions,
                                                           const io::Path& path);

struct FirstOfGroup {
  std::string data;
  std::int64_t shard = 0, sample = 0, members = 0;
};

// All partitions, mapped. Thread-safe.
class Duplicates {
 public:
  // Throws kDamaged for a damaged file; kInvalid unless the files are each partition exactly once.
  explicit Duplicates(const std::vector<std::string>& paths);
  std::optional<FirstOfGroup> find(SameIn family, const io::Hash128& hash) const;  // none: it is unique

 private:
  std::vector<io::MappedFile> files_;
  std::vector<std::vector<std::string>> names_;  // data sets, per file
};

}  // namespace trireme::worker::data

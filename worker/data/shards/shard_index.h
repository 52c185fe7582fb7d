// The index of one shard (format: INDEX.md): in memory, to bytes and back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/file.h"

namespace trireme::worker::data {

enum class ShardKind : std::uint32_t {
  kTarWholeText = 0,
  kTarTextLines = 1,
  kTable = 2,
  kTarStoredText = 3,    // captions are stored, .json lies in the tar
  kFiles = 4,            // pictures by path, captions and .json are stored: folders, JSON lines
  kTarStoredColumns = 5  // captions and .json are stored
};
// Where an index of that kind says that things are: in the shard, or in the index itself.
constexpr bool image_in_shard(ShardKind kind) {
  return kind != ShardKind::kTable && kind != ShardKind::kFiles;
}
constexpr bool text_in_shard(ShardKind kind) {
  return kind == ShardKind::kTarWholeText || kind == ShardKind::kTarTextLines;
}
constexpr bool json_in_shard(ShardKind kind) {
  return text_in_shard(kind) || kind == ShardKind::kTarStoredText;
}

struct IndexRange {
  std::uint64_t offset = 0, size = 0;
};

// What the ranges are within depends on the kind: see INDEX.md.
struct IndexSample {
  IndexRange image, text, json;
  std::int64_t label = -1;
  IndexRange key;
};
static_assert(sizeof(IndexSample) == 72);

struct ShardIndex {
  ShardKind kind = ShardKind::kTarWholeText;
  bool exif_orientation = false, icc_to_srgb = false;  // SourceSpec: how the pictures are decoded
  std::uint64_t shard_bytes = 0;
  std::string sha256;
  std::vector<IndexSample> samples;
  std::vector<IndexRange> captions;
  std::string pool;

  IndexRange intern(std::string_view text);  // appended to the pool
  std::string_view pooled(const IndexRange& range) const {
    return std::string_view(pool).substr(range.offset, range.size);
  }
};

std::string encode_index(const ShardIndex& index);

// Throws kDamaged naming `path`; never reads out of bounds, whatever the bytes. Every range of the result is
// valid.
ShardIndex decode_index(std::string_view bytes, const io::Path& path);

}  // namespace trireme::worker::data

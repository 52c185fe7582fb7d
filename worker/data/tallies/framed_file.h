// What the binary files of tallies have in common: eight bytes of magic, a u32 version, a body, and the u64
// xxh3 of all before it; keys of 16 bytes, which belong to partition `high mod partitions`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/io/file.h"
#include "common/io/hash.h"
#include "common/io/little_endian.h"

namespace trireme::worker::data {

inline std::size_t partition_of(const io::Hash128& key, std::int64_t partitions) {
  return static_cast<std::size_t>(key.high % static_cast<std::uint64_t>(partitions));
}

inline void put_hash(std::string& out, const io::Hash128& hash) {
  io::put(out, hash.high);
  io::put(out, hash.low);
}
inline io::Hash128 get_hash(const std::uint8_t* at) {
  return {io::get<std::uint64_t>(at), io::get<std::uint64_t>(at + 8)};
}

// The first 12 bytes.
std::string frame_head(std::string_view magic, std::uint32_t version);
// `text`: head and body. Written aside, synced and renamed.
void write_framed(const io::Path& path, std::string text);

// Throws kDamaged naming the file and the stage to run again: another magic or version, fewer than `least`
// bytes before the checksum, or a checksum that is off.
void check_frame(const io::MappedFile& file, std::string_view magic, std::uint32_t version, std::size_t least,
                 std::string_view stage);
// The same kDamaged, for what a reader finds out itself.
[[noreturn]] void damaged_file(const io::Path& path, const std::string& what, std::string_view stage);
void require_intact(bool holds, const io::Path& path, const std::string& what, std::string_view stage);

}  // namespace trireme::worker::data

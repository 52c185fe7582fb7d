// Hashes byte strings for boost::unordered_flat_map, so that look-ups by view make no string.
#pragma once

#include <string_view>

#include "common/io/hash.h"

namespace trireme::worker::text {

struct ByteHash {
  using is_transparent = void;
  using is_avalanching = void;
  std::size_t operator()(std::string_view bytes) const { return io::xxh3_64(bytes); }
};

}  // namespace trireme::worker::text

// A table from short byte strings to numbers, filled once; no allocation on look-up. Readable from any thread
// once filled.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <boost/unordered/unordered_flat_map.hpp>

#include "worker/text/byte_hash.h"

namespace trireme::worker::text {

class PieceTable {
 public:
  // Room for `most` entries.
  explicit PieceTable(std::size_t most = 0) : values_(most) {}

  // False when `piece` is there already (its value stays).
  bool insert(std::string_view piece, std::int32_t value) {
    longest_ = std::max(longest_, piece.size());
    return values_.emplace(piece, value).second;
  }

  // -1 when absent.
  std::int32_t find(std::string_view piece) const {
    const auto found = values_.find(piece);
    return found == values_.end() ? -1 : found->second;
  }

  std::size_t longest() const { return longest_; }

 private:
  boost::unordered_flat_map<std::string, std::int32_t, ByteHash, std::equal_to<>> values_;
  std::size_t longest_ = 0;
};

}  // namespace trireme::worker::text

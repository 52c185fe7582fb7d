// An immutable-after-filling hash table from short byte strings to numbers: open addressing, one allocation
// for the strings, no allocation on look-up. Readable from any thread once filled.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::worker::text {

class PieceTable {
 public:
  // Room for `most` entries.
  explicit PieceTable(std::size_t most = 0);

  // False when `piece` is there already (its value stays).
  bool insert(std::string_view piece, std::int32_t value);

  // -1 when absent.
  std::int32_t find(std::string_view piece) const;

  std::size_t longest() const { return longest_; }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    std::uint32_t offset = 0, length = 0;
    std::int32_t value = -1;
  };
  std::size_t place_of(std::string_view piece, std::uint64_t hash) const;

  std::vector<Slot> slots_;
  std::string bytes_;
  std::size_t mask_ = 0, longest_ = 0;
};

}  // namespace trireme::worker::text

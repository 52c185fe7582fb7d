#include "worker/text/character_table.h"

namespace trireme::worker::text {

CharacterTable::CharacterTable() : flags_(std::make_unique<std::uint8_t[]>(kCodePoints)) {
  for (const CharacterClass& one : character_classes())
    for (const CharacterRange& range : one.ranges)
      for (std::uint32_t code_point = range.first; code_point <= range.last; ++code_point)
        flags_[code_point] |= one.flag;
}

const CharacterTable& CharacterTable::get() {
  static const CharacterTable table;
  return table;
}

}  // namespace trireme::worker::text

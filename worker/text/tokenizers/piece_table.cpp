#include "worker/text/tokenizers/piece_table.h"

#include <algorithm>
#include <cstring>

namespace trireme::worker::text {
namespace {

// Eight bytes at a time, multiply and fold; pieces are a few bytes long.
std::uint64_t hash_of(std::string_view piece) {
  constexpr std::uint64_t kMultiplier = 0x9e3779b97f4a7c15ULL;
  std::uint64_t hash = piece.size() * kMultiplier;
  const char* data = piece.data();
  std::size_t left = piece.size();
  for (; left >= 8; left -= 8, data += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, 8);
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 29;
  }
  std::uint64_t tail = 0;
  for (std::size_t i = 0; i < left; ++i)
    tail |= std::uint64_t{static_cast<unsigned char>(data[i])} << (8 * i);
  hash = (hash ^ tail) * kMultiplier;
  return hash ^ (hash >> 32);
}

}  // namespace

PieceTable::PieceTable(std::size_t most) {
  std::size_t slots = 16;
  while (slots < 2 * most) slots *= 2;
  slots_.resize(slots);
  mask_ = slots - 1;
}

std::size_t PieceTable::place_of(std::string_view piece, std::uint64_t hash) const {
  std::size_t place = hash & mask_;
  while (slots_[place].value >= 0 &&
         (slots_[place].hash != hash || slots_[place].length != piece.size() ||
          std::memcmp(bytes_.data() + slots_[place].offset, piece.data(), piece.size()) != 0))
    place = (place + 1) & mask_;
  return place;
}

bool PieceTable::insert(std::string_view piece, std::int32_t value) {
  const std::uint64_t hash = hash_of(piece);
  Slot& slot = slots_[place_of(piece, hash)];
  if (slot.value >= 0) return false;
  slot = {hash, static_cast<std::uint32_t>(bytes_.size()), static_cast<std::uint32_t>(piece.size()), value};
  bytes_.append(piece);
  longest_ = std::max(longest_, piece.size());
  return true;
}

std::int32_t PieceTable::find(std::string_view piece) const {
  return slots_[place_of(piece, hash_of(piece))].value;
}

}  // namespace trireme::worker::text

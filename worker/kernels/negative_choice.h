// ALIGN's thinned negatives (METHODS 3.3, arm of T8): every row and, independently, every column keeps its
// positives and a fixed number of its other live entries in a random order that is a function of (seed, step,
// direction, row, column) alone, so it is the same on any number of ranks and needs no communication.
#pragma once

#include <cstdint>
#include <vector>

namespace trireme::worker::kernels {

// Keys the order of one row's candidates. `direction`: 2 * pair, + 1 for columns. `row`: place in slot order.
std::uint64_t negative_key(std::uint64_t seed, std::int64_t step, std::int64_t direction, std::int64_t row);

// Place of a candidate in the order: the smaller, the earlier; ties by column. For std::uint32_t and vectors
// of it.
template <class U>
constexpr __attribute__((always_inline)) U negative_mix(U column, U key_low, U key_high) {
  U x = (column ^ key_low) * 0x9E3779B1U;
  x ^= x >> 16;
  x = (x ^ key_high) * 0x85EBCA6BU;
  x ^= x >> 13;
  x *= 0xC2B2AE35U;
  x ^= x >> 16;
  return x;
}
inline std::uint32_t negative_rank(std::uint64_t key, std::uint32_t column) {
  return negative_mix(column, static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32));
}

// The last candidate that is kept; a candidate is kept when (rank, column) is not after it.
struct NegativeLimit {
  std::uint32_t rank = 0;
  std::int64_t column = -1;  // -1: none is kept
  bool keeps(std::uint32_t its_rank, std::int64_t its_column) const {
    return column >= 0 && (its_rank < rank || (its_rank == rank && its_column <= column));
  }
};

// round(fraction * candidates).
std::int64_t negatives_kept(double fraction, std::int64_t candidates);

// `is_candidate`: one per column of the global batch, 0 or 1, `candidates` of them 1; `kept` at most that.
NegativeLimit negative_limit(std::uint64_t key, const std::vector<std::uint8_t>& is_candidate,
                             std::int64_t candidates, std::int64_t kept);

}  // namespace trireme::worker::kernels

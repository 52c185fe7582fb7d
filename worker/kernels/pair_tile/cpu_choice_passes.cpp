#pragma GCC diagnostic ignored "-Wpsabi"
#include "worker/kernels/pair_tile/cpu_choice_passes.h"

#include <ATen/ATen.h>

#include <limits>

#include "worker/kernels/negative_choice.h"
#include "worker/kernels/pair_tile/lanes.h"

namespace trireme::worker::kernels {
namespace {

using Words = std::uint32_t __attribute__((vector_size(64)));

// What negative_choice.h needs of each line, as arrays: key words, rank of the last kept, and one more than
// its place (0: none is kept).
struct Choices {
  Choices(const at::Tensor& choice_n3, std::int64_t padded)
      : low(static_cast<std::size_t>(padded)), high(low), rank(low), places(low) {
    const auto* values = choice_n3.data_ptr<std::int64_t>();
    for (std::size_t i = 0; i < static_cast<std::size_t>(choice_n3.size(0)); ++i, values += 3) {
      low[i] = static_cast<std::uint32_t>(values[0]);
      high[i] = static_cast<std::uint32_t>(static_cast<std::uint64_t>(values[0]) >> 32);
      rank[i] = static_cast<std::uint32_t>(values[1]);
      places[i] = static_cast<std::uint32_t>(values[2] + 1);
    }
  }
  std::vector<std::uint32_t> low, high, rank, places;
};

template <class U>
TRIREME_LANES_INLINE auto keeps(U place, U low, U high, U rank, U places) {
  const U its_rank = negative_mix(place, low, high);
  return (places != 0) & ((its_rank < rank) | ((its_rank == rank) & (place < places)));
}

// Entry j of a row: its place is `place` plus `step` j; line parameters are arrays or, with step 1, one
// line's.
template <bool kRows>
TRIREME_LANES_INLINE void drop(float* row, std::int64_t padded, std::uint32_t place, const Choices& c,
                               std::size_t line) {
  const auto words = [](std::uint32_t value) __attribute__((always_inline)) {
    return Words{} + value;
  };
  Words places = words(place);
  if constexpr (kRows)
    for (std::uint32_t lane = 0; lane < 16; ++lane) places[lane] += lane;
  for (std::int64_t j = 0; j < padded; j += 16) {
    const auto of = [&](const std::vector<std::uint32_t>& values) __attribute__((always_inline)) {
      return kRows ? words(values.data()[line])
                   : __builtin_bit_cast(Words, load(reinterpret_cast<const float*>(values.data()) + j));
    };
    const auto kept = keeps<Words>(places, of(c.low), of(c.high), of(c.rank), of(c.places));
    const Floats s = load(row + j);
    store<float>(row + j, kept != 0 ? s : Floats{} - std::numeric_limits<float>::infinity());
    if constexpr (kRows) places += 16;
  }
}

template <bool kRows>
void drop(double* row, std::int64_t columns, std::uint32_t place, const Choices& c, std::size_t line) {
  for (std::int64_t j = 0; j < columns; ++j) {
    const auto at = kRows ? line : static_cast<std::size_t>(j);
    const auto its_place = kRows ? place + static_cast<std::uint32_t>(j) : place;
    if (!keeps<std::uint32_t>(its_place, c.low[at], c.high[at], c.rank[at], c.places[at]))
      row[j] = -std::numeric_limits<double>::infinity();
  }
}

__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"))) void drop_rows(
    const Panel<float>& panel, const Choices& choices, std::uint32_t first) {
  for (std::int64_t i = 0; i < panel.rows; ++i)
    drop<true>(panel.row(i), panel.padded(), first, choices, static_cast<std::size_t>(i));
}

__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"))) void drop_columns(
    const Panel<float>& panel, const Choices& choices, std::uint32_t first) {
  for (std::int64_t i = 0; i < panel.rows; ++i)
    drop<false>(panel.row(i), panel.padded(), first + static_cast<std::uint32_t>(i), choices, 0);
}

}  // namespace

void drop_by_rows(const Panel<float>& panel, const at::Tensor& choice_n3, std::int64_t first) {
  drop_rows(panel, Choices(choice_n3, panel.rows), static_cast<std::uint32_t>(first));
}

void drop_by_rows(const Panel<double>& panel, const at::Tensor& choice_n3, std::int64_t first) {
  const Choices choices(choice_n3, panel.rows);
  for (std::int64_t i = 0; i < panel.rows; ++i)
    drop<true>(panel.row(i), panel.columns, static_cast<std::uint32_t>(first), choices,
               static_cast<std::size_t>(i));
}

void drop_by_columns(const Panel<float>& panel, const at::Tensor& choice_n3, std::int64_t first) {
  drop_columns(panel, Choices(choice_n3, panel.padded()), static_cast<std::uint32_t>(first));
}

void drop_by_columns(const Panel<double>& panel, const at::Tensor& choice_n3, std::int64_t first) {
  const Choices choices(choice_n3, panel.columns);
  for (std::int64_t i = 0; i < panel.rows; ++i)
    drop<false>(panel.row(i), panel.columns, static_cast<std::uint32_t>(first + i), choices, 0);
}

}  // namespace trireme::worker::kernels

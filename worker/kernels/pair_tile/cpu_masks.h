// Which entries of a tile take part, on the CPU: dead and dropped ones become minus infinity, which no sum of
// exponentials sees; positives are taken out and listed.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/kernels/pair_tile/pair_tile.h"

namespace trireme::worker::kernels {

template <class T>
struct Panel {
  T* data = nullptr;
  std::int64_t rows = 0, columns = 0, stride = 0;
  T* row(std::int64_t i) const { return data + i * stride; }
  std::int64_t padded() const { return (columns + kTilePadding - 1) / kTilePadding * kTilePadding; }
};

template <class T>
struct Positive {
  std::int64_t row = 0, column = 0;
  T s = 0;
};

// The tile as its rows and as its columns see it: one panel unless a choice tells them apart.
template <class T>
struct MaskedTile {
  Panel<T> by_rows, by_columns;
  std::vector<Positive<T>> positives;
  std::vector<T> copy;  // what by_columns points to when it is a panel of its own
};

// Takes positives out and masks; logits_RC is overwritten.
template <class T>
MaskedTile<T> masked(const at::Tensor& logits_RC, const PairTile& tile);

extern template MaskedTile<float> masked<float>(const at::Tensor&, const PairTile&);
extern template MaskedTile<double> masked<double>(const at::Tensor&, const PairTile&);

}  // namespace trireme::worker::kernels

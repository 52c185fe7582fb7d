#include "worker/kernels/pair_tile/cpu_masks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "common/base/error.h"
#include "worker/kernels/pair_tile/cpu_choice_passes.h"

namespace trireme::worker::kernels {
namespace {

template <class T>
constexpr T kOut = -std::numeric_limits<T>::infinity();

template <class T>
Panel<T> panel_of(const at::Tensor& logits_RC) {
  Panel<T> panel{logits_RC.data_ptr<T>(), logits_RC.size(0), logits_RC.size(1), logits_RC.stride(0)};
  if (logits_RC.stride(1) != 1 || panel.stride < panel.padded())
    throw Error(ErrorKind::kInternal, "logits of a tile must lie in a tile_buffer()");
  return panel;
}

const std::uint8_t* live_of(const TileLines& lines) {
  return lines.live_n.defined() ? lines.live_n.data_ptr<std::uint8_t>() : nullptr;
}

template <class T>
void drop_dead(const Panel<T>& panel, const PairTile& tile) {
  if (const auto* live = live_of(tile.rows))
    for (std::int64_t i = 0; i < panel.rows; ++i)
      if (live[i] == 0) std::fill_n(panel.row(i), panel.columns, kOut<T>);
  if (const auto* live = live_of(tile.columns))
    for (std::int64_t j = 0; j < panel.columns; ++j)
      if (live[j] == 0)
        for (std::int64_t i = 0; i < panel.rows; ++i) panel.row(i)[j] = kOut<T>;
  for (std::int64_t i = 0; i < panel.rows; ++i)
    std::fill(panel.row(i) + panel.columns, panel.row(i) + panel.padded(), kOut<T>);
}

template <class T>
void take_positive(MaskedTile<T>& masked_tile, std::int64_t i, std::int64_t j) {
  T& entry = masked_tile.by_rows.row(i)[j];
  if (entry == kOut<T>) return;  // dead
  masked_tile.positives.push_back({i, j, entry});
  entry = kOut<T>;
}

template <class T>
void take_positives(MaskedTile<T>& masked_tile, const PairTile& tile) {
  const auto& panel = masked_tile.by_rows;
  if (!tile.rows.label_n.defined()) {
    const auto shift = tile.rows.first - tile.columns.first;  // column of the positive of row 0
    const auto from = std::max<std::int64_t>(0, -shift), to = std::min(panel.rows, panel.columns - shift);
    for (auto i = from; i < to; ++i) take_positive(masked_tile, i, i + shift);
    return;
  }
  const auto* of_row = tile.rows.label_n.data_ptr<std::int64_t>();
  const auto* of_column = tile.columns.label_n.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < panel.rows; ++i)
    for (std::int64_t j = 0; j < panel.columns; ++j)
      if (of_row[i] == of_column[j]) take_positive(masked_tile, i, j);
}

}  // namespace

template <class T>
MaskedTile<T> masked(const at::Tensor& logits_RC, const PairTile& tile) {
  MaskedTile<T> result;
  const auto panel = panel_of<T>(logits_RC);
  result.by_rows = result.by_columns = panel;
  drop_dead(panel, tile);
  take_positives(result, tile);
  const bool by_rows = tile.rows.choice_n3.defined(), by_columns = tile.columns.choice_n3.defined();
  if (by_rows || by_columns) {
    result.copy.resize(static_cast<std::size_t>(panel.rows * panel.stride));
    std::copy_n(panel.data, panel.rows * panel.stride, result.copy.data());
    result.by_columns.data = result.copy.data();
    if (by_rows) drop_by_rows(panel, tile.rows.choice_n3, tile.columns.first);
    if (by_columns) drop_by_columns(result.by_columns, tile.columns.choice_n3, tile.rows.first);
  }
  return result;
}

template MaskedTile<float> masked<float>(const at::Tensor&, const PairTile&);
template MaskedTile<double> masked<double>(const at::Tensor&, const PairTile&);

}  // namespace trireme::worker::kernels

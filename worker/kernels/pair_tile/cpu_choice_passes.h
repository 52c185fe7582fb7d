// Drops the negatives that a row (or a column) has not chosen, over a whole panel: they become minus
// infinity.
#pragma once

#include "worker/kernels/pair_tile/cpu_masks.h"

namespace trireme::worker::kernels {

// `choice_n3` of the rows; `first`: place of column 0.
void drop_by_rows(const Panel<float>& panel, const at::Tensor& choice_n3, std::int64_t first);
void drop_by_rows(const Panel<double>& panel, const at::Tensor& choice_n3, std::int64_t first);
// `choice_n3` of the columns; `first`: place of row 0.
void drop_by_columns(const Panel<float>& panel, const at::Tensor& choice_n3, std::int64_t first);
void drop_by_columns(const Panel<double>& panel, const at::Tensor& choice_n3, std::int64_t first);

}  // namespace trireme::worker::kernels

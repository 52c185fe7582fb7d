// Exact nearest neighbours by dot product (cosine for rows of norm 1): the reference that any approximate
// index is judged by. Legend: N indexed rows, Q queries, D width.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/search/hit.h"

namespace trireme::worker::search {

// Rows [first, first + size) of the index: float32 or float16 [n, D], contiguous, on the CPU, maybe a
// mapped file.
struct RowRange {
  std::int64_t first = 0;
  at::Tensor rows_nD;
};

class ExactIndex {
 public:
  explicit ExactIndex(at::Tensor rows_ND);
  // In the order of their rows, without overlaps, of one type; rows between them cannot be found. Tensors are
  // kept, not copied. Throws kInvalid when they do not fit one another.
  explicit ExactIndex(std::vector<RowRange> ranges);
  std::int64_t size() const;  // rows that can be found
  std::int64_t width() const { return width_; }

  // The k best rows of every query, best first, equal scores by row; fewer when there are fewer rows. NaN
  // scores come last. `allowed`: one byte per row of the index (null: all), 0 where it may not be found. Rows
  // are scored `tile_rows` at a time over torch's intra-op threads; the score of a row and a query depends
  // on nothing else where D is a multiple of 16. Throws kInvalid on another width or k < 1.
  std::vector<std::vector<Hit>> search(const at::Tensor& query_QD, std::int64_t k,
                                       std::int64_t tile_rows = 1024,
                                       const std::vector<std::uint8_t>* allowed = nullptr) const;

  // Row `row` as float32 [D]; undefined when it cannot be found.
  at::Tensor row(std::int64_t row) const;
  // Scores of these rows for one query, in their order; -infinity for a row that cannot be found.
  std::vector<float> scores(const at::Tensor& query_D, const std::vector<std::int64_t>& rows) const;

 private:
  const RowRange* range_of(std::int64_t row) const;

  std::vector<RowRange> ranges_;
  std::int64_t width_ = 0;
};

// [Q, T]: every query (float32) with every row (float32), both contiguous.
at::Tensor products(const at::Tensor& query_QD, const at::Tensor& rows_TD);

}  // namespace trireme::worker::search

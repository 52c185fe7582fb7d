// Exact nearest neighbours by dot product (cosine for rows of norm 1): the reference that any approximate
// index is judged by. Legend: N indexed rows, Q queries, D width.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::search {

struct Hit {
  std::int64_t row = 0;
  float score = 0;
  bool operator==(const Hit&) const = default;
};

class ExactIndex {
 public:
  // [N, D] float32 on the CPU; kept, not copied.
  explicit ExactIndex(at::Tensor rows_ND);
  std::int64_t size() const { return rows_ND_.size(0); }
  std::int64_t width() const { return rows_ND_.size(1); }

  // The k best rows of every query, best first, equal scores by row; fewer when there are fewer rows. Rows
  // are scored `tile_rows` at a time. NaN scores come last. Throws kInvalid on another width or k < 1.
  std::vector<std::vector<Hit>> search(const at::Tensor& query_QD, std::int64_t k,
                                       std::int64_t tile_rows = 65536) const;

 private:
  at::Tensor rows_ND_;
};

}  // namespace trireme::worker::search

// Fewer numbers for a row, chosen for the products that will be asked for (LeanVec's idea for queries that
// lie elsewhere than the rows, as texts do): of all maps to so many numbers, the pair whose products differ
// least from the whole ones, over rows and queries as they are spread. Legend: N rows, Q queries, D width, R
// numbers.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::worker::search {

// (query_map q) · (row_map (x - mean)) ~ q · (x - mean): scores without what all rows have of a query.
struct Reduction {
  at::Tensor row_map_RD, query_map_RD, mean_D;  // float32
  double missed = 0;                            // share of the variance of the products
  std::int64_t first = 0;                       // so many of the numbers miss no more than `first_missed`
};

// The fewest numbers, a multiple of 16, that miss no more than `most_missed` of the variance of products; by
// singular values of the covariance of rows, between the roots of both second moments. Undefined tensors
// where that needs all numbers or nearly so (over three quarters), and of fewer rows than numbers.
// Deterministic on one machine.
Reduction learnt_reduction(const at::Tensor& rows_ND, const at::Tensor& queries_QD, double most_missed,
                           double first_missed);

}  // namespace trireme::worker::search

// k nearest neighbours as ALIGN reports it (METHODS 7.3): cosine between L2-normalised image embeddings, the
// training set as index; R@k = share of queries whose own class is among the k nearest. Of equal similarities
// the smaller training position is nearer. A query whose class the training set lacks is a miss. Legend: N
// training rows, M queries, D width.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/evaluation/result.h"

namespace trireme::worker::evaluation {

// "knn_recall@k" for each k. Embeddings of any length and float type; labels int64. At most `tile_elements`
// similarities exist at once for each thread that torch has, on whose number nothing depends. Throws kInvalid
// on shapes, nothing to rank, or a k above N.
Metrics knn_recall(const at::Tensor& train_ND, const at::Tensor& train_label_N, const at::Tensor& query_MD,
                   const at::Tensor& query_label_M, const std::vector<std::int64_t>& k,
                   std::int64_t tile_elements = std::int64_t{1} << 23);

// The same names with what random similarities give: the mean over queries of 1 - C(N-n,k)/C(N,k), n training
// rows of the query's class.
Metrics knn_chance(const at::Tensor& train_label_N, const at::Tensor& query_label_M,
                   const std::vector<std::int64_t>& k);

}  // namespace trireme::worker::evaluation

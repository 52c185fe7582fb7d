#include "worker/evaluation/knn.h"

#include <algorithm>
#include <limits>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "common/base/error.h"
#include "worker/kernels/threads.h"

namespace trireme::worker::evaluation {
namespace {

at::Tensor unit_rows(const at::Tensor& rows) {
  const auto plain = rows.detach().to(at::kFloat);
  return plain / plain.norm(2, {-1}, true).clamp_min(1e-12);
}

void check(const at::Tensor& train_ND, const at::Tensor& train_label_N, const at::Tensor& query_MD,
           const at::Tensor& query_label_M, const std::vector<std::int64_t>& k) {
  if (train_ND.dim() != 2 || query_MD.dim() != 2 || train_ND.size(1) != query_MD.size(1) ||
      train_label_N.sizes() != at::IntArrayRef{train_ND.size(0)} ||
      query_label_M.sizes() != at::IntArrayRef{query_MD.size(0)})
    throw Error(ErrorKind::kInvalid, "kNN needs embeddings of one width and one label for each");
  if (train_ND.size(0) == 0 || query_MD.size(0) == 0)
    throw Error(ErrorKind::kInvalid, "kNN has " + std::to_string(train_ND.size(0)) + " training images and " +
                                         std::to_string(query_MD.size(0)) + " queries");
  for (const auto one : k)
    if (one < 1 || one > train_ND.size(0))
      throw Error(ErrorKind::kInvalid, "k = " + std::to_string(one) + " of kNN lies outside 1 to " +
                                           std::to_string(train_ND.size(0)) + ", the training images");
}

// Neighbours nearer than the nearest of the query's own class; N when there is none of it.
at::Tensor ranks(const at::Tensor& score_RN, const at::Tensor& own_RN) {
  const auto n = score_RN.size(1);
  const auto column_N = at::arange(n, own_RN.options().dtype(at::kLong));
  const auto best_R1 = std::get<0>(
      score_RN.masked_fill(own_RN.logical_not(), -std::numeric_limits<float>::infinity()).max(1, true));
  const auto at_best_RN = score_RN == best_R1;
  const auto first_R1 = at::where(at_best_RN.logical_and(own_RN), column_N, n).amin(1, true);
  const auto nearer = (score_RN > best_R1).logical_or_(at_best_RN.logical_and(column_N < first_R1)).sum(1);
  return at::where(own_RN.any(1), nearer, at::full_like(nearer, n));
}

}  // namespace

Metrics knn_recall(const at::Tensor& train_ND, const at::Tensor& train_label_N, const at::Tensor& query_MD,
                   const at::Tensor& query_label_M, const std::vector<std::int64_t>& k,
                   std::int64_t tile_elements) {
  check(train_ND, train_label_N, query_MD, query_label_M, k);
  const auto train = unit_rows(train_ND), query = unit_rows(query_MD);
  const auto rows = std::max<std::int64_t>(1, tile_elements / train.size(0));
  // A tile on one thread: which of two rows is nearer may hang on a product's last bits.
  std::vector<at::Tensor> parts(static_cast<std::size_t>((query.size(0) + rows - 1) / rows));
  kernels::over_blocks(
      query.size(0), rows, at::get_num_threads(), [&](std::int64_t first, std::int64_t count) {
        const auto score_RN = query.narrow(0, first, count).matmul(train.t());
        parts[static_cast<std::size_t>(first / rows)] =
            ranks(score_RN, query_label_M.narrow(0, first, count).unsqueeze(1) == train_label_N);
      });
  const auto rank_M = at::cat(parts);
  Metrics metrics;
  for (const auto one : k)
    metrics.emplace_back("knn_recall@" + std::to_string(one),
                         (rank_M < one).to(at::kDouble).mean().item<double>());
  return metrics;
}

Metrics knn_chance(const at::Tensor& train_label_N, const at::Tensor& query_label_M,
                   const std::vector<std::int64_t>& k) {
  const auto n = static_cast<double>(train_label_N.size(0));
  const auto others_M = (query_label_M.unsqueeze(1) != train_label_N).sum(1).to(at::kDouble);
  Metrics metrics;
  for (const auto one : k) {
    at::Tensor missed_M = at::ones_like(others_M);
    for (std::int64_t j = 0; j < one; ++j)
      missed_M *= (others_M - static_cast<double>(j)).clamp_min(0) / (n - static_cast<double>(j));
    metrics.emplace_back("knn_recall@" + std::to_string(one), 1 - missed_M.mean().item<double>());
  }
  return metrics;
}

}  // namespace trireme::worker::evaluation

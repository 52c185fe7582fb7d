#include "worker/search/reduction.h"

#include <tuple>

#include <ATen/ATen.h>

#include "worker/kernels/threads.h"

namespace trireme::worker::search {
namespace {

constexpr double kNothing = 1e-10;  // of the largest eigenvalue

// The root of a symmetric matrix and the inverse of the root, of what is not nothing.
std::pair<at::Tensor, at::Tensor> roots_of(const at::Tensor& moments_DD) {
  auto [value, vector] = at::linalg_eigh(moments_DD);
  const auto there = value > kNothing * value.max();
  const auto root = at::where(there, value.clamp_min(0).sqrt(), at::zeros_like(value));
  const auto inverse = at::where(there, 1 / root, at::zeros_like(value));
  return {(vector * root).matmul(vector.t()), (vector * inverse).matmul(vector.t())};
}

at::Tensor moments_of(const at::Tensor& rows_nD) {
  return rows_nD.t().matmul(rows_nD).to(at::kDouble) / static_cast<double>(rows_nD.size(0));
}

}  // namespace

Reduction learnt_reduction(const at::Tensor& rows_ND, const at::Tensor& queries_QD, double most_missed,
                           double first_missed) {
  const std::int64_t width = rows_ND.size(1);
  Reduction made;
  if (rows_ND.size(0) < 2 * width || queries_QD.size(0) < 1) return made;
  const kernels::OneTorchThread one_thread;  // a library's last bits may depend on the number of its threads
  made.mean_D = rows_ND.mean(0);
  const auto [row_root, row_inverse] = roots_of(moments_of(rows_ND - made.mean_D));
  const auto [query_root, unused] = roots_of(moments_of(queries_QD));
  const auto [left, value, right] = at::linalg_svd(query_root.matmul(row_root), false);
  const auto captured = value.square().cumsum(0) / value.square().sum();
  const auto fewest = [&](double missed) {
    std::int64_t numbers = 16;
    while (numbers < width && captured[numbers - 1].item<double>() < 1 - missed) numbers += 16;
    return numbers;
  };
  const std::int64_t numbers = fewest(most_missed);
  if (4 * numbers > 3 * width) return {};
  const auto balance = value.narrow(0, 0, numbers).sqrt().unsqueeze(1);
  const auto few = right.narrow(0, 0, numbers);
  made.row_map_RD = (few.matmul(row_inverse) * balance).to(at::kFloat).contiguous();
  made.query_map_RD = (few.matmul(row_root) / balance).to(at::kFloat).contiguous();
  made.first = fewest(first_missed);
  made.missed = 1 - captured[numbers - 1].item<double>();
  return made;
}

}  // namespace trireme::worker::search

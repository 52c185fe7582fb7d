#include "worker/losses/soft_target_loss.h"

#include <ATen/ATen.h>

#include <string>

#include "common/base/error.h"

namespace trireme::worker::losses {
namespace {

std::string shape_of(const at::Tensor& tensor) {
  std::string text = "[";
  for (const auto size : tensor.sizes()) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

void check_targets(const at::Tensor& logits_BV, const at::Tensor& indices_Bk, const at::Tensor& weights_Bk) {
  if (logits_BV.dim() != 2 || indices_Bk.dim() != 2 || indices_Bk.sizes() != weights_Bk.sizes() ||
      indices_Bk.size(0) != logits_BV.size(0))
    throw Error(ErrorKind::kInvalid, "soft targets: logits " + shape_of(logits_BV) + ", indices " +
                                         shape_of(indices_Bk) + " and weights " + shape_of(weights_Bk) +
                                         " do not fit together");
  if (!indices_Bk.is_cpu()) return;  // nobody waits for a GPU here: who sends targets there has counted them
  const at::Tensor outside = indices_Bk.lt(0).logical_or(indices_Bk.ge(logits_BV.size(1)));
  if (!outside.any().item<bool>()) return;
  const auto row = outside.any(1).nonzero()[0].item<std::int64_t>();
  const auto entry = outside[row].nonzero()[0].item<std::int64_t>();
  throw Error(ErrorKind::kInvalid,
              "soft targets: row " + std::to_string(row) + " names concept " +
                  std::to_string(indices_Bk[row][entry].item<std::int64_t>()) + " of a vocabulary of " +
                  std::to_string(logits_BV.size(1)),
              "label the data again with the vocabulary that the heads were made for");
}

}  // namespace

at::Tensor soft_target_loss(const at::Tensor& logits_BV, const at::Tensor& indices_Bk,
                            const at::Tensor& weights_Bk) {
  check_targets(logits_BV, indices_Bk, weights_Bk);
  const auto type = logits_BV.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor log_p = at::log_softmax(logits_BV.to(type), 1).gather(1, indices_Bk);
  const at::Tensor weights = weights_Bk.to(type);
  return -at::where(weights.eq(0), at::zeros_like(log_p), weights * log_p).sum(1);
}

std::pair<at::Tensor, at::Tensor> top_k_targets(const at::Tensor& probabilities_BV, std::int64_t k) {
  if (k < 1) throw Error(ErrorKind::kInvalid, "top-k targets: k is " + std::to_string(k), "use at least 1");
  const auto sorted = at::sort(probabilities_BV, /*stable=*/true, 1, /*descending=*/true);
  const auto kept = std::min(k, probabilities_BV.size(1));
  const at::Tensor values = std::get<0>(sorted).narrow(1, 0, kept);
  return {std::get<1>(sorted).narrow(1, 0, kept).contiguous(), values / values.sum(1, true)};
}

}  // namespace trireme::worker::losses

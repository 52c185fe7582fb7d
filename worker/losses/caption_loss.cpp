#include "worker/losses/caption_loss.h"

#include <ATen/ATen.h>

#include <string>

#include "common/base/error.h"
#include "worker/kernels/sent.h"

namespace trireme::worker::losses {
namespace {

void check_tokens(const at::Tensor& logits_BLV, const at::Tensor& next_BL, const at::Tensor& counted_BL) {
  const at::Tensor outside = next_BL.lt(0).logical_or(next_BL.ge(logits_BLV.size(2))).logical_and(counted_BL);
  if (!outside.any().item<bool>()) return;
  const at::Tensor first = outside.nonzero()[0];
  const auto row = first[0].item<std::int64_t>(), place = first[1].item<std::int64_t>();
  throw Error(ErrorKind::kInvalid,
              "caption loss: row " + std::to_string(row) + ", position " + std::to_string(place + 1) +
                  " holds token " + std::to_string(next_BL[row][place].item<std::int64_t>()) +
                  " of a vocabulary of " + std::to_string(logits_BLV.size(2)),
              "use the tokenizer that the decoder was made for");
}

}  // namespace

CaptionLoss caption_loss(const at::Tensor& logits_BLV, const at::Tensor& tokens_BL, std::int64_t ignored,
                         double smoothing) {
  if (logits_BLV.dim() != 3 || tokens_BL.dim() != 2 || logits_BLV.size(0) != tokens_BL.size(0) ||
      logits_BLV.size(1) != tokens_BL.size(1) || tokens_BL.scalar_type() != at::kLong)
    throw Error(ErrorKind::kInvalid,
                "caption loss: logits [B, L, V] and int64 tokens [B, L] do not fit together");
  if (!(smoothing >= 0 && smoothing < 1))
    throw Error(ErrorKind::kInvalid, "caption loss: smoothing is " + std::to_string(smoothing),
                "use at least 0 and less than 1");
  const auto type = logits_BLV.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto length = tokens_BL.size(1);
  if (length < 2) return {(logits_BLV.to(type) * 0).sum(), 0};
  const at::Tensor next_BL = tokens_BL.cpu().narrow(1, 1, length - 1);
  const at::Tensor counted_BL = next_BL.ne(ignored);
  check_tokens(logits_BLV, next_BL, counted_BL);
  const at::Tensor rows = counted_BL.reshape({-1}).nonzero().view({-1});
  const at::Tensor next_N1 = next_BL.reshape({-1}).index_select(0, rows).unsqueeze(1);
  const at::Device device = logits_BLV.device();
  const at::Tensor logits_NV =
      logits_BLV.narrow(1, 0, length - 1).flatten(0, 1).index_select(0, kernels::sent_to(rows, device));
  const at::Tensor log_p = at::log_softmax(logits_NV.to(type), 1);
  const at::Tensor picked = log_p.gather(1, kernels::sent_to(next_N1, device));
  at::Tensor sum = -(1 - smoothing) * picked.sum();
  if (smoothing > 0) sum = sum - smoothing * log_p.mean(1).sum();
  return {sum, rows.numel()};
}

}  // namespace trireme::worker::losses

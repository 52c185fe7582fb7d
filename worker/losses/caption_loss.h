// Cross entropy of a caption decoder (METHODS 2.9, 6.2): position l predicts token l + 1.
//
//   loss = sum over b, l of -[(1 - smoothing) ln p_l(token_{l+1}) + smoothing/V sum_v ln p_l(v)]
//
// where token_{l+1} is not `ignored`. Sum and count apart, so that the caller divides by the global count.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::worker::losses {

struct CaptionLoss {
  at::Tensor sum;          // [], float32 or float64, differentiable in the logits
  std::int64_t count = 0;  // positions counted
};

// logits_BLV floating, tokens_BL int64, looked at on the host: nobody waits for the logits' device where they
// lie there. Throws kInvalid: shapes that disagree, smoothing outside [0, 1), a
// token outside the vocabulary (naming row, position and token).
CaptionLoss caption_loss(const at::Tensor& logits_BLV, const at::Tensor& tokens_BL, std::int64_t ignored,
                         double smoothing = 0);

}  // namespace trireme::worker::losses

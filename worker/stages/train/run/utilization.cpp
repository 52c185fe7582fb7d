#include "worker/stages/train/run/utilization.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "worker/models/model_cost.h"

namespace trireme::worker::stages::train {

double pair_flops(const models::DualEncoder& encoder, bool stored_images, bool stored_texts) {
  const jobs::ModelSpec& spec = encoder.spec();
  const auto cost = models::model_cost(spec, encoder.tokenizer().vocabulary_size());
  double flops = cost.step_flops;
  if (stored_images) flops -= cost.image.forward_flops;  // frozen, so counted once
  if (stored_texts) flops -= cost.text.forward_flops;
  return flops;
}

double matmul_rate(const std::string& device, bool bf16) {
  const at::NoGradGuard no_grad;
  const bool cpu = device == "cpu";
  const std::int64_t side = cpu ? 1024 : 8192;
  const int at_once = cpu ? 1 : 8;  // so that the host's start of them counts for nothing
  // Numbers of many bits: a GPU multiplies equal ones faster than it does a model's.
  const at::Tensor a = at::arange(side * side, at::TensorOptions().device(device).dtype(at::kFloat))
                           .sin_()
                           .view({side, side})
                           .to(bf16 ? at::kBFloat16 : at::kFloat);
  double best = 1e9;
  for (int round = 0; round < 4; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    at::Tensor product = at::matmul(a, a);
    for (int more = 1; more < at_once; ++more) at::matmul_out(product, a, a);
    product[0][0].item<float>();  // waits for a GPU
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (round > 0) best = std::min(best, seconds);
  }
  const auto n = static_cast<double>(side);
  return at_once * 2 * n * n * n / best;
}

}  // namespace trireme::worker::stages::train

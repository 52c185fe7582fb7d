// Training beside open_clip: the same initial weights, the same batches, 100 steps, and the same loss at each
// (tests/oracles/record_curve.py). And batch norms whose statistics move, over ranks.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <mutex>

#include "tests/worker/collective/support/threads.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/collective/local/local_group.h"
#include "worker/collective/slot_tree.h"
#include "worker/stages/train/objectives/contrastive/dual_encoder_model.h"
#include "worker/stages/train/step/training_step.h"

namespace trireme::worker::stages::train {
namespace {

constexpr std::int64_t kSteps = 100, kBatch = 8, kSlots = 2, kPx = 32, kContext = 12;

jobs::ModelSpec spec_of(const std::string& kind) {
  jobs::ModelSpec spec;
  spec.image.kind = *from_name<jobs::ImageTowerKind>(kind);
  spec.image.image_px = kPx;
  spec.image.patch_px = 8;
  spec.image.width = spec.text.width = 32;
  spec.image.layers = spec.text.layers = 2;
  spec.image.heads = spec.text.heads = 2;
  spec.text.context = kContext;
  spec.text.tokenizer.buckets = 64;
  spec.embed_dim = 16;
  return spec;
}

at::Tensor images(std::int64_t step) {
  const auto axis = [](std::int64_t extent, std::int64_t place) {
    std::vector<std::int64_t> shape(4, 1);
    shape[static_cast<std::size_t>(place)] = extent;
    return at::arange(extent, at::kDouble).view(shape);
  };
  const at::Tensor b = axis(kBatch, 0), c = axis(3, 1), y = axis(kPx, 2), x = axis(kPx, 3);
  return at::sin(0.05 * y * (b + 1) + 0.11 * x * (c + 1) + 0.3 * static_cast<double>(step) * (b + 1) + c)
      .to(at::kFloat);
}

at::Tensor tokens(std::int64_t step) {
  at::Tensor rows = at::zeros({kBatch, kContext}, at::kLong);
  for (std::int64_t b = 0; b < kBatch; ++b) {
    const std::int64_t length = 3 + (step + b) % 6;
    rows[b][0] = 1;
    for (std::int64_t i = 0; i < length; ++i) rows[b][1 + i] = 3 + (7 * step + 13 * b + 5 * i) % 60;
    rows[b][1 + length] = 2;
  }
  return rows;
}

std::vector<SlotInput> inputs_of(std::int64_t step, std::int64_t slots, collective::SlotRange own) {
  std::vector<SlotInput> inputs;
  for (std::int64_t slot = own.first; slot < own.last; ++slot) {
    SlotInput input;
    input.image_BCHW = images(step).chunk(slots)[static_cast<std::size_t>(slot)];
    input.tokens_BL = tokens(step).chunk(slots)[static_cast<std::size_t>(slot)];
    input.live_B = at::ones({kBatch / slots}, at::kByte);
    input.step = step;
    input.slot = slot;
    inputs.push_back(std::move(input));
  }
  return inputs;
}

TEST(TrainingCurve, IsThatOfOpenClip) {
  const checkpoint::SafetensorsFile golden(
      io::Path(std::string(TRIREME_SOURCE_DIR) + "/tests/golden/towers/curve.safetensors"));
  models::DualEncoder encoder(spec_of("vit"), 1);
  NamedTensors weights;
  for (const std::string& name : golden.names())
    if (name.starts_with("weight.")) weights.emplace_back(name.substr(7), golden.load(name));
  encoder.load_state(weights);
  const auto group = collective::make_local_groups(1);
  SlotPool pool(1, 1, {});
  DualEncoderModel model(encoder, {});
  TrainingStep step(
      model, *group[0], pool,
      {.slots = kSlots,
       .schedule = {
           .peak = 1e-3, .warmup_steps = 0, .total_steps = kSteps, .shape = optim::Shape::kConstant}});
  const at::Tensor losses = golden.load("losses");
  double worst = 0;
  for (std::int64_t s = 0; s < kSteps; ++s) {
    const double loss = step.run(inputs_of(s, kSlots, {0, kSlots}), s).loss.value;
    const double expected = losses[s].item<double>();
    worst = std::max(worst, std::abs(loss - expected) / expected);
  }
  std::printf("largest relative difference of a loss: %.1e\n", worst);
  EXPECT_LT(worst, 1e-4);
}

// Statistics travel with the gradients, so they have the same bits on any number of ranks.
TEST(MovingStatistics, DoNotDependOnRanks) {
  std::vector<std::vector<at::Tensor>> results;
  for (const int ranks : {1, 2, 4}) {
    std::mutex mutex;
    std::vector<at::Tensor> all;
    collective::run_ranks(ranks, [&](collective::Group& group) {
      jobs::ModelSpec spec = spec_of("efficientnet_b0");
      spec.image.width_factor = 0.1;
      spec.image.depth_factor = 0.5;
      spec.image.batch_norm = {jobs::BatchNormPolicy::kGhost, 2, 0.1, 1e-3};
      spec.image.stochastic_depth = 0.2;
      models::DualEncoder encoder(spec, 1);
      DualEncoderModel model(encoder, {});
      SlotPool pool(1, 1, {});
      TrainingStep step(model, group, pool,
                        {.slots = 4, .schedule = {.peak = 1e-3, .warmup_steps = 0, .total_steps = 4}});
      for (std::int64_t s = 0; s < 3; ++s) {
        const auto own = collective::own_slots(4, group.size(), group.rank());
        EXPECT_TRUE(std::isfinite(step.run(inputs_of(s, 4, own), s).loss.value));
      }
      const std::lock_guard lock(mutex);
      all.clear();
      for (const auto& [name, tensor] : encoder.state()) all.push_back(tensor.detach().clone());
      const at::Tensor mean = encoder.moving_buffers().front().second;
      EXPECT_GT(mean.abs().max().item<double>(), 0);
    });
    results.push_back(all);
  }
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_TRUE(at::equal(results[0][i], results[1][i])) << i;
    EXPECT_TRUE(at::equal(results[0][i], results[2][i])) << i;
  }
}

}  // namespace
}  // namespace trireme::worker::stages::train

// Steps as a GPU takes them, on one that is recorded: bfloat16 over float32 masters, and what the towers'
// graphs leave of a step's operations.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/registered_replay.h"
#include "tests/worker/collective/support/recorded_ranks.h"
#include "tests/worker/stages/train/support/toy.h"
#include "tests/worker/support/recorded_autocast.h"
#include "tests/worker/support/recorded_device.h"
#include "worker/kernels/replay/replay.h"
#include "worker/kernels/sent.h"
#include "worker/models/dual_encoder.h"
#include "worker/optim/gradient_norm.h"
#include "worker/stages/train/objectives/contrastive/dual_encoder_model.h"
#include "worker/stages/train/step/training_step.h"

namespace trireme::worker::stages::train {
namespace {

using collective::Group;

void over_one_rank(const std::function<void(Group&, SlotPool&)>& body) {
  collective::run_recorded_ranks(1, [&](Group& group, collective::Record&) {
    SlotPool pool(1, 1, {});
    body(group, pool);
  });
}

SlotInput on(const at::Device& device, SlotInput input) {
  for (at::Tensor* tensor : {&input.image_features_BT, &input.text_features_BT}) *tensor = tensor->to(device);
  return input;
}

// AdamW's steps are of the learning rate's size: of numbers between 1/4 and 1/2 bfloat16 holds every 2^-9th.
constexpr double kRate = 0x1p-13;
constexpr std::int64_t kSteps = 8;

// Weights before and after, of a toy trained in bfloat16 on rows that stay the same.
std::vector<std::pair<at::Tensor, at::Tensor>> trained_in_bf16(const at::Device& device) {
  std::vector<std::pair<at::Tensor, at::Tensor>> weights;
  over_one_rank([&](Group& group, SlotPool& pool) {
    Toy toy({.device = device}, {.temperature = kTemperature});
    for (const auto& [name, weight] : toy.parameters()) weights.emplace_back(weight.detach().clone(), weight);
    TrainingStep step(toy, group, pool,
                      {.slots = kSlots, .bf16 = true, .schedule = {.peak = kRate, .total_steps = 1000}});
    std::vector<SlotInput> inputs;
    for (std::int64_t slot = 0; slot < kSlots; ++slot) inputs.push_back(on(device, input_of(0, slot)));
    for (std::int64_t s = 0; s < kSteps; ++s) {
      auto launched = step.launch(inputs, s);
      step.read(launched);
      EXPECT_FALSE(launched.non_finite);
    }
    for (const auto& [name, weight] : toy.parameters()) EXPECT_EQ(weight.scalar_type(), at::kFloat) << name;
    for (const auto& [name, tensor] : step.optimizer().state())
      if (name != "updates") {
        EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
        EXPECT_EQ(tensor.device().type(), device.type()) << name;
        EXPECT_GT(tensor.abs().max().cpu().item<double>(), 0) << name;
      }
  });
  for (auto& [before, after] : weights) {
    before = before.cpu();
    after = after.detach().cpu();
  }
  return weights;
}

TEST(DeviceStep, UnderBfloat16MastersAndMomentsAreFloat32AndSmallUpdatesStay) {
  for (const at::Device& device : {recorded::device(), at::Device(at::kCPU)}) {
    std::int64_t looked_at = 0;
    for (const auto& [before, after] : trained_in_bf16(device)) {
      const at::Tensor size = before.abs(), moved = (after - before).abs(),
                       coarse = size.ge(0.25).logical_and(size.lt(0.5)).logical_and(moved.gt(kRate / 4));
      // One step is less than half of what bfloat16 tells apart there, and eight are together 2^-10.
      const at::Tensor one = (before + kRate).to(at::kBFloat16).ne((before).to(at::kBFloat16));
      looked_at += coarse.sum().item<std::int64_t>();
      EXPECT_LT(one.logical_and(coarse).sum().item<double>(), 0.2 * coarse.sum().item<double>() + 1);
      if (coarse.any().item<bool>()) {
        const at::Tensor steps = moved.masked_select(coarse) / kRate;
        EXPECT_NEAR(steps.median().item<double>(), kSteps, 1) << "updates add up";
      }
    }
    EXPECT_GT(looked_at, 200) << device;
  }
}

// ---- what a step of ViT-B/32 starts on the device: twelve layers and twelve, narrow ones

jobs::ModelSpec twelve_layers() {
  jobs::ModelSpec spec;
  spec.image.image_px = 32;
  spec.image.patch_px = 8;
  spec.image.width = spec.text.width = 32;
  spec.image.heads = spec.text.heads = 2;
  spec.text.context = 16;
  spec.text.tokenizer.buckets = 64;
  spec.embed_dim = 16;
  return spec;
}

// Replays the work without counting it: a graph is one start.
std::function<void()> as_one_start(const at::Device&, const std::function<void()>& work, std::string&) {
  work();
  return [work] {
    const std::int64_t before = recorded::waits().operations;
    work();
    recorded::waits().operations = before + 1;
  };
}

struct Counted {
  std::int64_t whole = 0, loss = 0, update = 0;
};

Counted count_operations(bool graphs, Group& group, SlotPool& pool) {
  const at::Device device = recorded::device();
  models::DualEncoder encoder(twelve_layers(), 0);
  encoder.to(device.str());
  DualEncoderOptions options;
  options.device = device.str();
  DualEncoderModel model(encoder, options);
  TrainingStep step(model, group, pool,
                    {.slots = 1,
                     .bf16 = true,
                     .gradient_clip_norm = 1,
                     .schedule = {.peak = 1e-3, .total_steps = 100},
                     .graphs = graphs});
  SlotInput input;
  input.image_BCHW = draw(kRows, 3 * 32 * 32, 3).view({kRows, 3, 32, 32}).to(device);
  input.tokens_BL = draw(kRows, 16, 4).abs().mul(9).to(at::kLong).clamp(3, 60).to(device);
  input.live_B = at::ones({kRows}, at::kByte);
  const auto counted = [](const std::function<void()>& body) {
    const std::int64_t before = recorded::waits().operations;
    body();
    return recorded::waits().operations - before;
  };
  Counted all;
  for (std::int64_t s = 0; s < 4; ++s) {  // the first ones record
    StepResult launched;
    all.whole = counted([&] { launched = step.launch({input}, s); });
    step.read(launched);
  }
  const optim::ForEach for_each = [](std::int64_t n, const std::function<void(std::int64_t)>& body) {
    for (std::int64_t i = 0; i < n; ++i) body(i);
  };
  const std::vector<SlotOutput> outputs{model.forward(input)};
  all.loss = counted([&] {
    static_cast<void>(model.loss({input}, outputs, {group, 1, 5, false, for_each, true}));
  });
  const auto optimizer = optim::make_optimizer(model.parameters(), {});
  std::vector<at::Tensor> slopes;
  for (const auto& [name, weight] : model.parameters()) slopes.push_back(at::zeros_like(weight.detach()));
  const at::Tensor taken = at::ones({}, at::TensorOptions(device).dtype(at::kDouble));
  all.update = counted([&] {
    const at::NoGradGuard no_grad;
    optim::clip_gradients_there(slopes, optim::gradient_norm_there(slopes), 1);
    optimizer->step(slopes, {1e-3, 0.9}, for_each, taken);
  });
  return all;
}

// Few shapes are recorded; what draws, keeps statistics or runs in pieces is not.
TEST(DeviceStep, TextsComeInFewLengthsAndWhatDoesNotRepeatRunsAsItIs) {
  const auto repeats = [](const std::function<void(jobs::ModelSpec&)>& change,
                          const DualEncoderOptions& options = {}) {
    jobs::ModelSpec spec = twelve_layers();
    spec.image.layers = spec.text.layers = 1;
    change(spec);
    models::DualEncoder encoder(spec, 0);
    return DualEncoderModel(encoder, options).repeats();
  };
  EXPECT_TRUE(repeats([](jobs::ModelSpec&) {}));
  EXPECT_FALSE(repeats([](jobs::ModelSpec& spec) { spec.image.patch_dropout = 0.5; }));
  EXPECT_FALSE(repeats([](jobs::ModelSpec& spec) { spec.image.stochastic_depth = 0.5; }));
  EXPECT_FALSE(repeats([](jobs::ModelSpec& spec) { spec.image.frozen = true; }));
  EXPECT_FALSE(repeats([](jobs::ModelSpec& spec) { spec.text.gradient_checkpointing = true; }));
  EXPECT_FALSE(repeats([](jobs::ModelSpec& spec) {
    spec.image.kind = jobs::ImageTowerKind::kEfficientNetLite0;
    spec.image.width_factor = 0.25;
    spec.image.batch_norm.policy = jobs::BatchNormPolicy::kBatch;
  }));
  DualEncoderOptions heads;
  heads.heads = {{.name = "concepts", .concepts = 3}};
  EXPECT_FALSE(repeats([](jobs::ModelSpec&) {}, heads));

  models::DualEncoder encoder(twelve_layers(), 0);
  const DualEncoderModel model(encoder, {});
  for (const auto& [length, padded] : {std::pair{5, 8}, {8, 8}, {9, 16}, {16, 16}}) {
    SlotInput input;
    input.tokens_BL = at::full({2, length}, 7, at::kLong);
    EXPECT_EQ(model.padded(input).tokens_BL.size(1), padded);
  }
}

// A graph copies out of the place that was the host's while it was recorded, whatever lies there later: a
// first comparison would pass.
TEST(DeviceStep, APassThatSendsNumbersOfTheHostIsNotRecorded) {
  const kernels::RegisteredReplay registered(&as_one_start, c10::DispatchKey::PrivateUse1);
  const at::NoGradGuard no_grad;
  kernels::Replay replay;
  int passes = 0;
  const at::Tensor input = at::ones({2}).to(recorded::device());
  const auto pass = [&passes](const at::Tensor& x) {
    return x + kernels::sent_to(at::full({2}, static_cast<double>(++passes)), recorded::device());
  };
  // The pass itself each time; its third run was the recording that was refused.
  for (const double wanted : {2, 3, 5, 6}) EXPECT_EQ(replay.run(input, pass).cpu()[0].item<double>(), wanted);
  std::string why;
  EXPECT_EQ(kernels::record(
                recorded::device(), [&] { static_cast<void>(pass(input)); }, why),
            nullptr);
  EXPECT_NE(why.find("it sends numbers of the host"), std::string::npos) << why;
}

// docs/gpu.md has these numbers; the loss is that of torch's own operations.
TEST(DeviceStep, TheTowersGraphsAreMostOfAStepsOperations) {
  over_one_rank([](Group& group, SlotPool& pool) {
    const Counted plain = count_operations(false, group, pool);
    const kernels::RegisteredReplay registered(&as_one_start, c10::DispatchKey::PrivateUse1);
    const Counted with_graphs = count_operations(true, group, pool);
    std::cout << "operations of a step: " << plain.whole << ", with graphs " << with_graphs.whole << "; loss "
              << plain.loss << ", clipping and AdamW " << plain.update << "\n";
    EXPECT_LT(with_graphs.whole, plain.whole / 6);
    EXPECT_LT(plain.update, 40);
    EXPECT_LT(with_graphs.whole, plain.loss + plain.update + 60);
  });
}

}  // namespace
}  // namespace trireme::worker::stages::train

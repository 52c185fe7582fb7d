// Whole steps of every objective's model on a device that is recorded (recorded_device.h): the host waits for
// nothing within one, the numbers are the CPU's, and a step that is not finite leaves all as it was.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "tests/worker/collective/support/recorded_ranks.h"
#include "tests/worker/stages/train/support/toy.h"
#include "tests/worker/support/recorded_device.h"
#include "worker/models/dual_encoder.h"
#include "worker/stages/train/objectives/captioning/captioner_model.h"
#include "worker/stages/train/objectives/classification/classifier_model.h"
#include "worker/stages/train/objectives/contrastive/dual_encoder_model.h"
#include "worker/stages/train/step/training_step.h"

namespace trireme::worker::stages::train {
namespace {

using collective::Group;

constexpr std::int64_t kPixels = 32, kWords = 12, kHeadRows = 5;

enum class Learns { kPairs, kCaptions, kClasses };

struct Case {
  const char* name;
  Learns learns = Learns::kPairs;
  jobs::ModelSpec model;
  bool multi_label = false;
  std::int64_t head_steps = 0;
  std::int64_t micro_batch = 0;
  // Batch norms over a few rows, many of them: last bits, of the loss or of attention, are other losses a
  // step or two on, also from one of the CPU's ways to another and from one make of CPU to the next. Between
  // two ways the first losses are compared alone.
  bool chaotic = false;
};

jobs::ModelSpec towers() {
  jobs::ModelSpec spec;
  spec.image.image_px = kPixels;
  spec.image.patch_px = 8;
  spec.image.width = spec.text.width = 32;
  spec.image.layers = spec.text.layers = 2;
  spec.image.heads = spec.text.heads = 2;
  spec.text.context = spec.text.positions = kWords;
  spec.text.tokenizer.buckets = 64;
  spec.embed_dim = 16;
  return spec;
}

jobs::ModelSpec with_batch_norms(jobs::ModelSpec spec, jobs::BatchNormPolicy policy) {
  spec.image.kind = jobs::ImageTowerKind::kEfficientNetLite0;
  spec.image.width_factor = 0.25;
  spec.image.batch_norm.policy = policy;
  spec.image.batch_norm.group = 4;
  return spec;
}

jobs::ModelSpec captioner() {
  const std::string vocabulary = ::testing::TempDir() + "/trireme-whole-models-vocabulary.txt";
  std::string lines = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n";
  for (int word = 5; word < 64; ++word) lines += "w" + std::to_string(word) + "\n";
  io::write_file_atomic(vocabulary, lines, false);
  jobs::ModelSpec spec = towers();
  spec.text.kind = jobs::TextTowerKind::kDecoder;
  spec.text.prompt = "a";
  spec.text.tokenizer.kind = jobs::TokenizerKind::kWordPiece;
  spec.text.tokenizer.vocabulary = vocabulary;
  return spec;
}

std::vector<Case> cases() {
  jobs::ModelSpec draws = towers(), again = towers();
  draws.image.patch_dropout = draws.image.stochastic_depth = 0.3;
  again.image.gradient_checkpointing = again.text.gradient_checkpointing = true;
  const auto batch = jobs::BatchNormPolicy::kBatch, ghost = jobs::BatchNormPolicy::kGhost;
  return {{"pairs", Learns::kPairs, towers()},
          {"dropped patches and depth", Learns::kPairs, draws},
          {"gradient checkpointing", Learns::kPairs, again},
          {"batch norms", Learns::kPairs, with_batch_norms(towers(), batch), false, 0, 0, true},
          {"captions", Learns::kCaptions, captioner()},
          {"captions in chunks", Learns::kCaptions, captioner(), false, 0, 2},
          {"captions, ghost batch norms", Learns::kCaptions, with_batch_norms(captioner(), ghost), false, 0,
           0, true},
          {"classes", Learns::kClasses, towers()},
          {"classes, the head first", Learns::kClasses, towers(), true, 2},
          {"classes, batch norms", Learns::kClasses, with_batch_norms(towers(), batch)}};
}

std::unique_ptr<Learner> learner_of(const Case& of, models::DualEncoder& encoder, const at::Device& device) {
  if (of.learns == Learns::kCaptions) return std::make_unique<CaptionerModel>(encoder, 0.1);
  if (of.learns == Learns::kPairs) {
    DualEncoderOptions options;
    options.device = device.str();
    return std::make_unique<DualEncoderModel>(encoder, options);
  }
  ClassifierOptions options;
  options.classes = kHeadRows;
  options.multi_label = of.multi_label;
  options.label_smoothing = of.multi_label ? 0 : 0.1;
  options.head_steps = of.head_steps;
  options.device = device.str();
  return std::make_unique<ClassifierModel>(encoder, options);
}

// One row of the batch is dead.
SlotInput input_at(const Case& of, std::int64_t step, const at::Device& device) {
  const auto key = static_cast<std::uint64_t>(step);
  SlotInput input;
  input.image_BCHW = draw(kRows, 3 * kPixels * kPixels, key).view({kRows, 3, kPixels, kPixels}).to(device);
  const at::Tensor tokens_BL = draw(kRows, kWords, key + 50)
                                   .abs()
                                   .mul(9)
                                   .to(at::kLong)
                                   .clamp(of.learns == Learns::kCaptions ? 0 : 3, 60);
  input.tokens_BL = of.learns == Learns::kCaptions ? tokens_BL : tokens_BL.to(device);
  if (of.learns == Learns::kClasses)
    input.targets = {{draw(kRows, 1, key + 90).abs().mul(99).to(at::kLong).remainder(kHeadRows).to(device),
                      at::ones({kRows, 1}, at::kFloat).to(device)}};
  input.live_B = at::ones({kRows}, at::kByte);
  input.live_B[1] = 0;
  input.step = step;
  return input;
}

struct Trained {
  std::vector<double> losses;
  std::vector<at::Tensor> tensors;  // of the model, and what it has learnt beside
  std::vector<std::string> within;  // what the host waited for from launch to launch
};

constexpr std::int64_t kSteps = 4;

// `bad`: the step with a picture that is not finite; read at once, or with `skip`, it is not taken at all.
Trained train(const Case& of, const at::Device& device, std::optional<bool> later, std::int64_t bad = -1,
              bool skip = false) {
  Trained result;
  collective::run_recorded_ranks(1, [&](Group& group, collective::Record&) {
    models::DualEncoder encoder(of.model, 0);
    if (!device.is_cpu()) encoder.to(device.str());
    const auto model = learner_of(of, encoder, device);
    SlotPool pool(1, 1, {});
    StepOptions options{.slots = 1,
                        .micro_batch = of.micro_batch,
                        .schedule = {.peak = 1e-2, .total_steps = 9},
                        .read_later = later};
    // AdamW takes whole steps where a gradient is nothing but rounding (at the keys' bias).
    options.optimizer.momentum = 0.9;
    options.optimizer.groups.first = "head.";
    options.optimizer.groups.late_updates = of.head_steps;
    TrainingStep step(*model, group, pool, options);
    std::optional<StepResult> before;
    const auto read = [&] {
      step.read(*before);
      if (!before->non_finite) result.losses.push_back(before->loss.value);
      before.reset();
    };
    for (std::int64_t s = 0; s < kSteps; ++s) {
      if (s == bad && (skip || !step.reads_later())) continue;
      std::vector<SlotInput> inputs{input_at(of, s, device)};
      if (s == bad) inputs[0].image_BCHW[0].fill_(std::numeric_limits<double>::infinity());
      static_cast<void>(recorded::waits().take());
      StepResult launched = step.launch(inputs, s);
      for (auto& one : recorded::waits().take()) result.within.push_back(one);
      if (before) read();
      before = std::move(launched);
      if (!step.reads_later()) read();
    }
    if (before) read();
    for (const auto& [name, tensor] : encoder.state())
      result.tensors.push_back(tensor.detach().cpu().clone());
    for (const auto& [name, tensor] : model->state()) result.tensors.push_back(tensor.detach().cpu().clone());
    EXPECT_EQ(step.optimizer().updates(), kSteps - (bad < 0 ? 0 : 1));
  });
  return result;
}

void expect_close(const Trained& found, const Trained& expected, const std::string& what) {
  ASSERT_EQ(found.losses.size(), expected.losses.size()) << what;
  for (std::size_t s = 0; s < expected.losses.size(); ++s)
    EXPECT_NEAR(found.losses[s], expected.losses[s], 1e-4) << what << ", step " << s;
  ASSERT_EQ(found.tensors.size(), expected.tensors.size()) << what;
  for (std::size_t i = 0; i < expected.tensors.size(); ++i)
    EXPECT_TRUE(at::allclose(found.tensors[i], expected.tensors[i], 1e-4, 1e-4)) << what << ", tensor " << i;
}

TEST(WholeModels, TheHostWaitsForNothingWithinAStep) {
  for (const Case& of : cases()) {
    const auto found = train(of, recorded::device(), {}), expected = train(of, at::kCPU, false);
    EXPECT_EQ(found.within, std::vector<std::string>{}) << of.name;
    EXPECT_NEAR(found.losses[0], expected.losses[0], 1e-5) << of.name;
    if (of.chaotic)
      EXPECT_NEAR(found.losses[1], expected.losses[1], 1e-2) << of.name;
    else
      expect_close(found, expected, of.name);
    EXPECT_GE(train(of, recorded::device(), false).within.size(), static_cast<std::size_t>(2 * kSteps))
        << of.name << ": the count can fail";
  }
}

TEST(WholeModels, AStepThatIsNotFiniteIsLeftOutByTheDevice) {
  for (const Case& of : cases()) {
    if (of.name == std::string("dropped patches and depth")) continue;  // may drop the picture
    for (const std::int64_t bad : {0, 2}) {
      const auto found = train(of, recorded::device(), {}, bad);
      expect_close(found, train(of, recorded::device(), {}, bad, true), of.name);
      if (!of.chaotic) expect_close(found, train(of, at::kCPU, false, bad), of.name);
    }
  }
}

}  // namespace
}  // namespace trireme::worker::stages::train

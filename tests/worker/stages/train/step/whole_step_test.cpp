// Steps that are read later: on a device that is recorded (recorded_device.h), over a gang that is
// (recorded_ranks.h), where it is counted what the host would have waited for.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "tests/worker/collective/support/recorded_ranks.h"
#include "tests/worker/stages/train/support/toy.h"
#include "tests/worker/support/recorded_device.h"
#include "worker/collective/slot_tree.h"
#include "worker/collective/staged_group.h"
#include "worker/stages/train/step/training_step.h"

namespace trireme::worker::stages::train {
namespace {

using collective::Group;

struct Arm {
  const char* name;
  ToyOptions toy;
  StepOptions step;
  PairLossOptions loss;
};

std::vector<Arm> arms() {
  const optim::Schedule schedule{.peak = 3e-3, .warmup_steps = 2, .total_steps = 20};
  const StepOptions plain{.slots = kSlots, .gradient_clip_norm = 0.5, .schedule = schedule};
  Arm clip{"clip", {}, plain, {.temperature = kTemperature}};
  Arm chunks = clip;
  chunks.name = "in chunks, averaged";
  chunks.step.micro_batch = 4;
  chunks.step.average_decay = 0.9;
  Arm alip = clip;  // gates, hard negatives and a head, smoothing, thinned negatives, LAMB
  alip.name = "alip, diht, align";
  alip.toy.heads = true;
  alip.step.optimizer.lamb = true;
  auto& contrastive = alip.loss.contrastive;
  contrastive.smoothing = 0.1;
  contrastive.alpha = 0.999;
  contrastive.beta = 0.5;
  contrastive.negative_fraction = 0.7;
  alip.loss.gates = losses::GateOptions{};
  alip.loss.gates_at_start = {.h_tc = 0.5, .h_xt = 0.25, .h_xc = 0.125};
  alip.loss.head_weights = {0.7};
  Arm sigmoid = clip;
  sigmoid.name = "sigmoid";
  sigmoid.toy.bias = true;
  sigmoid.loss.contrastive.kind = losses::ContrastiveKind::kSigmoid;
  sigmoid.step.optimizer.momentum = 0.9;
  Arm sigma = clip;
  sigma.name = "sigma";
  sigma.toy.temperature = 0.4;
  sigma.loss.temperature = {.kind = losses::TemperatureKind::kSigma};
  return {clip, chunks, alip, sigmoid, sigma};
}

SlotInput on(const at::Device& device, SlotInput input) {
  for (at::Tensor* tensor : {&input.image_features_BT, &input.text_features_BT, &input.caption_tokens_BL})
    if (tensor->defined()) *tensor = tensor->to(device);
  for (auto& head : input.targets) head = {head.index_Bk.to(device), head.weight_Bk.to(device)};
  return input;
}

std::vector<SlotInput> inputs_of(const Arm& arm, const Group& group, std::int64_t step) {
  const auto own = collective::own_slots(kSlots, group.size(), group.rank());
  std::vector<SlotInput> inputs;
  for (auto slot = own.first; slot < own.last; ++slot)
    inputs.push_back(
        on(arm.toy.device, arm.loss.gates ? rich_input_of(step % 3, slot) : input_of(step % 3, slot)));
  return inputs;
}

struct Trained {
  std::vector<at::Tensor> weights;
  std::vector<double> numbers;
};

void expect_close(const Trained& found, const Trained& expected, double relative, const std::string& what) {
  ASSERT_EQ(found.numbers.size(), expected.numbers.size()) << what;
  for (std::size_t i = 0; i < found.numbers.size(); ++i)
    EXPECT_NEAR(found.numbers[i], expected.numbers[i],
                relative * std::max(1.0, std::abs(expected.numbers[i])))
        << what << ", number " << i;
  ASSERT_EQ(found.weights.size(), expected.weights.size()) << what;
  for (std::size_t i = 0; i < found.weights.size(); ++i)
    EXPECT_TRUE(at::allclose(found.weights[i], expected.weights[i], relative, relative))
        << what << ", tensor " << i;
}

constexpr std::int64_t kSteps = 4;

void run_gang(int ranks, bool through_host, const std::function<void(Group&)>& body) {
  if (!through_host)
    return collective::run_recorded_ranks(ranks, [&](Group& group, collective::Record&) { body(group); });
  collective::run_ranks(ranks, [&](Group& group) {
    body(*collective::make_staged_group(std::make_unique<collective::Lent>(group)));
  });
}

// A step is read when the next one is launched; `bad`: a step with a number that is not finite on rank 0.
Trained train(const Arm& arm, int ranks, std::int64_t bad = -1, const std::function<void(bool)>& around = {},
              bool through_host = false) {
  Trained result;
  std::mutex mutex;
  run_gang(ranks, through_host, [&](Group& group) {
    Toy model(arm.toy, arm.loss);
    SlotPool pool(1, 1, {});
    TrainingStep step(model, group, pool, arm.step);
    EXPECT_FALSE(through_host && step.reads_later());
    Trained mine;
    std::vector<StepResult> launched;
    const auto read = [&] {
      StepResult& done = launched.front();
      step.read(done);
      if (!done.non_finite) {
        mine.numbers.insert(mine.numbers.end(), {done.loss.value, done.loss.logit_scale, done.gradient_norm});
        mine.numbers.insert(mine.numbers.end(), done.loss.parts.begin(), done.loss.parts.end());
        for (const auto& [name, value] : done.loss.gates) mine.numbers.push_back(value);
        for (const auto& signals : done.loss.signals_Kb) mine.numbers.push_back(signals.sum().item<double>());
      }
      launched.erase(launched.begin());
    };
    for (std::int64_t s = 0; s < kSteps; ++s) {
      if (s == bad && !step.reads_later()) continue;  // what leaving it out means
      auto inputs = inputs_of(arm, group, s);
      if (s == bad && group.rank() == 0)
        inputs[0].image_features_BT[0].fill_(std::numeric_limits<double>::infinity());
      if (around) around(true);
      launched.push_back(step.launch(inputs, s, s == kSteps - 1));
      if (around) around(false);
      if (launched.size() > 1 || !step.reads_later()) read();
    }
    while (!launched.empty()) read();
    EXPECT_EQ(step.optimizer().updates(), kSteps - (bad < 0 ? 0 : 1));
    for (const auto& [name, tensor] : model.parameters())
      mine.weights.push_back(tensor.detach().cpu().clone());
    for (const auto& [name, tensor] : step.optimizer().state()) mine.weights.push_back(tensor.cpu());
    if (step.average() != nullptr)
      for (const auto& [name, tensor] : step.average()->state()) mine.weights.push_back(tensor.cpu());
    for (const auto& [name, tensor] : losses::tensors_of(model.gates())) mine.weights.push_back(tensor);
    const std::lock_guard lock(mutex);
    if (group.rank() == 0) result = mine;  // signals are of own slots
  });
  return result;
}

TEST(WholeStep, ReadLaterItIsTheStepThatIsReadAtOnce) {
  for (Arm arm : arms())
    for (const int ranks : {1, 2}) {
      arm.step.read_later = false;
      const auto at_once = train(arm, ranks);
      arm.step.read_later = true;
      expect_close(train(arm, ranks), at_once, 2e-5, arm.name);
    }
}

TEST(WholeStep, OneThatIsNotFiniteIsLeftOutWhateverWasLaunchedBehindIt) {
  for (Arm arm : arms()) {
    arm.step.read_later = false;
    const auto without = train(arm, 2, 2);
    arm.step.read_later = true;
    expect_close(train(arm, 2, 2), without, 2e-5, arm.name);
  }
}

// Two workers on one GPU, or a gang whose NCCL does not start.
TEST(WholeStep, ThroughTheHostItIsReadAtOnceAndTheSame) {
  for (Arm arm : arms())
    for (const int ranks : {1, 2}) {
      arm.toy.device = at::kCPU;
      arm.step.read_later = false;
      const auto on_cpu = train(arm, ranks);
      arm.toy.device = recorded::device();
      arm.step.read_later = {};
      expect_close(train(arm, ranks, -1, {}, true), on_cpu, 2e-5, arm.name);
    }
}

TEST(WholeStep, TheHostWaitsForNothingBetweenTwoSteps) {
  auto& waits = recorded::waits();
  for (Arm arm : arms())
    for (const int ranks : {1, 2}) {
      if (ranks > 1 && !arm.loss.gates) continue;  // one gang over two is enough
      const auto on_cpu = [&] {
        arm.toy.device = at::kCPU;
        arm.step.read_later = true;
        return train(arm, ranks);
      }();
      arm.toy.device = recorded::device();
      arm.step.read_later = {};
      std::vector<std::string> within;
      int events = 0;
      std::mutex mutex;
      const auto count = [&](bool begins) {
        if (ranks > 1) return;  // others may read meanwhile
        const std::lock_guard lock(mutex);
        if (begins) {
          static_cast<void>(waits.take());
          events = waits.events;
          return;
        }
        for (auto& one : waits.take()) within.push_back(one);
        EXPECT_EQ(waits.events, events) << arm.name << ": a step does not wait for the one before";
      };
      const int before = waits.events;
      expect_close(train(arm, ranks, -1, count), on_cpu, 2e-5, std::string(arm.name) + ", recorded");
      EXPECT_EQ(within, std::vector<std::string>{}) << arm.name;
      EXPECT_GE(waits.events - before, kSteps * ranks) << "each step is waited for once, when it is read";
      if (ranks > 1 || arm.toy.bias) continue;
      arm.step.read_later = false;  // the count can fail
      train(arm, 1, -1, count);
      EXPECT_GE(within.size(), static_cast<std::size_t>(3 * kSteps)) << arm.name;
    }
}

}  // namespace
}  // namespace trireme::worker::stages::train

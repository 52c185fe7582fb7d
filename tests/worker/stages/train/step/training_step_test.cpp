#include "worker/stages/train/step/training_step.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>

#include "common/base/error.h"
#include "tests/support/registered_replay.h"
#include "tests/worker/collective/support/threads.h"
#include "tests/worker/stages/train/support/toy.h"
#include "worker/collective/slot_tree.h"

namespace trireme::worker::stages::train {
namespace {

using collective::Group;
using collective::run_ranks;

struct Options {
  StepOptions step;
  PairLossOptions loss;
};

Options plain(StepOptions step) {
  step.slots = kSlots;
  return {step, {.temperature = kTemperature}};
}

// Everything at once: ALIP's gates, DiHT's hard negatives and head, ALIGN's smoothing and thinned negatives.
Options combined() {
  Options options = plain({.schedule = {.peak = 3e-3, .total_steps = 100}});
  auto& contrastive = options.loss.contrastive;
  contrastive.smoothing = 0.1;
  contrastive.alpha = 0.999;
  contrastive.beta = 0.5;
  contrastive.negative_fraction = 0.7;
  contrastive.reduction = losses::Reduction::kSumOfMeans;
  options.loss.gates = losses::GateOptions{};
  options.loss.head_weights = {0.7};
  return options;
}

struct Trained {
  std::vector<at::Tensor> weights;
  std::vector<double> losses, norms;
};

Trained train(int ranks, int threads, std::int64_t steps, const ToyOptions& toy, const Options& options,
              bool cache = true) {
  Trained result;
  std::mutex mutex;
  run_ranks(ranks, [&](Group& group) {
    Toy model(toy, options.loss);
    at::autocast::set_autocast_cache_enabled(cache);  // of this thread
    SlotPool pool(threads, 1, {});
    TrainingStep step(model, group, pool, options.step);
    const auto own = collective::own_slots(kSlots, group.size(), group.rank());
    Trained mine;
    for (std::int64_t s = 0; s < steps; ++s) {
      std::vector<SlotInput> inputs;
      for (auto slot = own.first; slot < own.last; ++slot)
        inputs.push_back(options.loss.gates ? rich_input_of(s % 4, slot) : input_of(s % 4, slot));
      const auto done = step.run(inputs, s);
      EXPECT_EQ(done.loss.live, kSlots * kRows - 1);
      mine.losses.push_back(done.loss.value);
      mine.norms.push_back(done.gradient_norm);
    }
    for (const auto& [name, tensor] : model.parameters()) mine.weights.push_back(tensor.detach().clone());
    if (step.average() != nullptr)
      for (const auto& [name, tensor] : step.average()->state()) mine.weights.push_back(tensor);
    for (const auto& [name, tensor] : losses::tensors_of(model.gates())) mine.weights.push_back(tensor);
    const std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < result.weights.size(); ++i)
      EXPECT_TRUE(at::equal(result.weights[i], mine.weights[i])) << "ranks disagree";
    result = mine;
  });
  return result;
}

Trained train(int ranks, int threads, std::int64_t steps, bool bf16 = false, bool cache = true) {
  return train(ranks, threads, steps, {},
               plain({.bf16 = bf16,
                      .gradient_clip_norm = 0.5,
                      .schedule = {.peak = 3e-3, .warmup_steps = 3, .total_steps = steps}}),
               cache);
}

void expect_same(const Trained& a, const Trained& b, const std::string& what) {
  EXPECT_EQ(a.losses, b.losses) << what;
  EXPECT_EQ(a.norms, b.norms) << what;
  for (std::size_t i = 0; i < a.weights.size(); ++i)
    EXPECT_TRUE(at::equal(a.weights[i], b.weights[i])) << what << ", parameter " << i;
}

// The gradients of the first step, by name: AdamW's first moment is (1 - beta1) times them.
std::map<std::string, at::Tensor> gradients(int ranks, const ToyOptions& toy, Options options) {
  std::map<std::string, at::Tensor> found;
  run_ranks(ranks, [&](Group& group) {
    Toy model(toy, options.loss);
    SlotPool pool(2, 1, {});
    options.step.schedule.beta1 = 0.5;
    TrainingStep step(model, group, pool, options.step);
    const auto own = collective::own_slots(kSlots, group.size(), group.rank());
    std::vector<SlotInput> inputs;
    for (auto slot = own.first; slot < own.last; ++slot)
      inputs.push_back(options.loss.gates ? rich_input_of(0, slot) : input_of(0, slot));
    step.run(inputs, 0);
    if (group.rank() != 0) return;
    for (const auto& [name, tensor] : step.optimizer().state())
      if (name.rfind("exp_avg.", 0) == 0) found[name.substr(8)] = tensor.clone() / 0.5;
  });
  return found;
}

TEST(TrainingStep, LearnsAndClampsTheTemperature) {
  const auto trained = train(1, 2, 60);
  EXPECT_LT(trained.losses.back(), 0.6 * trained.losses.front());
  EXPECT_LE(trained.weights[4].item<double>(), 2.01 + 1e-6);  // logit_scale
}

TEST(TrainingStep, WeightsDoNotDependOnRanksOrThreads) {
  const auto alone = train(1, 1, 12);
  expect_same(alone, train(1, 3, 12), "3 threads");
  for (const int ranks : {2, 4, 8}) expect_same(alone, train(ranks, 1, 12), std::to_string(ranks) + " ranks");
  expect_same(alone, train(2, 2, 12), "2 ranks of 2 threads");
}

TEST(TrainingStep, BitsHoldInBfloat16Too) {
  const auto alone = train(1, 1, 8, true);
  EXPECT_LT(alone.losses.back(), alone.losses.front());
  expect_same(alone, train(4, 2, 8, true), "4 ranks of 2 threads");
}

// Casts of weights, shared by the graphs of slots on several threads, are those of the step and give each
// slot its own gradient: the same bits as casting anew at every use.
TEST(TrainingStep, SharedCastsAreThoseOfTheStep) {
  const auto fresh = train(1, 1, 6, true, /*cache=*/false);
  EXPECT_NE(fresh.losses[0], fresh.losses[4]);  // the same inputs
  for (const int threads : {1, 2, 4})
    expect_same(fresh, train(1, threads, 6, true), std::to_string(threads) + " threads");
}

// Recorded on the CPU, where a replay does the work again: what is replayed in which order is judged.
TEST(TrainingStep, PassesAsGraphsGiveTheSameBits) {
  static std::atomic<int> recorded;
  recorded = 0;
  const kernels::RegisteredReplay registered(
      [](const at::Device&, const std::function<void()>& work, std::string&) {
        ++recorded;
        work();
        return work;
      });
  for (const bool bf16 : {false, true}) {
    auto options = plain({.bf16 = bf16, .schedule = {.peak = 3e-3, .total_steps = 8}});
    const auto alone = train(1, 1, 8, ToyOptions{.repeats = true}, options);
    EXPECT_EQ(recorded, 0) << "nobody asked for it";
    options.step.graphs = true;
    expect_same(alone, train(2, 2, 8, ToyOptions{.repeats = true}, options), "graphs");
    EXPECT_EQ(recorded, 2 * kSlots) << "there and back, once per slot";
    expect_same(alone, train(1, 1, 8, ToyOptions{}, options), "a learner that draws");
    EXPECT_EQ(recorded, 2 * kSlots);
    recorded = 0;
  }
}

// The gradient that reaches AdamW is that of the whole batch, by autograd over the full matrix.
TEST(TrainingStep, GradientNormIsThatOfTheGlobalLoss) {
  Toy model;
  std::vector<at::Tensor> image, text, live, leaves;
  for (std::int64_t slot = 0; slot < kSlots; ++slot) {
    const auto input = input_of(0, slot);
    const auto output = model.forward(input);
    image.push_back(output.rows_BD[0]);
    text.push_back(output.rows_BD[1]);
    live.push_back(input.live_B);
  }
  const auto mask = at::cat(live).to(at::kBool);
  const auto s =
      model.temperature().exp() * at::mm(at::cat(image).index({mask}), at::cat(text).index({mask}).t());
  const auto loss = -(at::log_softmax(s, 1).diagonal().mean() + at::log_softmax(s, 0).diagonal().mean()) / 2;
  for (const auto& [name, leaf] : model.parameters()) leaves.push_back(leaf);
  double squares = 0;
  for (const auto& gradient : torch::autograd::grad({loss}, leaves))
    squares += gradient.to(at::kDouble).square().sum().item<double>();
  const auto step = train(2, 1, 1);
  EXPECT_NEAR(step.losses[0], loss.item<double>(), 1e-5);
  EXPECT_NEAR(step.norms[0], std::sqrt(squares), 1e-5);
}

TEST(TrainingStep, EveryCombinationHasTheSameBitsForAnyRanks) {
  auto all = combined();
  all.step.optimizer.lamb = true;
  all.step.schedule = {.peak = 0.02, .total_steps = 6, .shape = optim::Shape::kOneCycle};
  all.step.average_decay = 0.9;
  all.step.gradient_clip_norm = 1;
  auto sigmoid = plain({.micro_batch = 4, .schedule = {.peak = 3e-3, .total_steps = 100}});
  sigmoid.loss.contrastive.kind = losses::ContrastiveKind::kSigmoid;
  auto sigma = combined();
  sigma.loss.temperature = {.kind = losses::TemperatureKind::kSigma};
  sigma.step.micro_batch = 2;
  const std::tuple<const char*, ToyOptions, Options> arms[] = {
      {"combined", {.dropout = true, .heads = true}, all},
      {"sigmoid in chunks", {.bias = true}, sigmoid},
      {"sigma, combined, in chunks", {.heads = true, .temperature = 0.4}, sigma},
      {"fixed temperature", {.heads = true, .learnt = false}, combined()}};
  for (const auto& [name, toy, options] : arms) {
    const auto alone = train(1, 1, 6, toy, options);
    EXPECT_NE(alone.losses[4], alone.losses[0]) << name << ": the same batch again";
    for (const int ranks : {2, 4}) expect_same(alone, train(ranks, 2, 6, toy, options), name);
  }
}

// By autograd over the whole batch with open_clip's way beside it: it computes the loss of the whole batch
// once per micro-batch, each time with a graph to logit_scale, and so adds up its gradient as often.
TEST(TrainingStep, LogitScaleHasItsOwnGradientAndNotThatTimesTheChunks) {
  Toy model;
  std::vector<at::Tensor> image, text;
  for (std::int64_t slot = 0; slot < kSlots; ++slot) {
    auto output = model.forward(input_of(0, slot));
    const auto rows = slot == kSlots - 1 ? kRows - 1 : kRows;
    image.push_back(output.rows_BD[0].narrow(0, 0, rows));
    text.push_back(output.rows_BD[1].narrow(0, 0, rows));
  }
  const auto loss_of = [&](const std::vector<at::Tensor>& x, const std::vector<at::Tensor>& t) {
    const auto s = model.temperature().exp() * at::mm(at::cat(x), at::cat(t).t());
    return -(at::log_softmax(s, 1).diagonal().mean() + at::log_softmax(s, 0).diagonal().mean()) / 2;
  };
  const double exact =
      torch::autograd::grad({loss_of(image, text)}, {model.temperature()}, {}, true)[0].item<double>();
  double accumulated = 0;
  for (std::size_t chunk = 0; chunk < kSlots; ++chunk) {
    std::vector<at::Tensor> x, t;
    for (std::size_t i = 0; i < kSlots; ++i) {
      x.push_back(i == chunk ? image[i] : image[i].detach());
      t.push_back(i == chunk ? text[i] : text[i].detach());
    }
    accumulated += torch::autograd::grad({loss_of(x, t)}, {model.temperature()}, {}, true)[0].item<double>();
  }
  EXPECT_NEAR(accumulated, kSlots * exact, 1e-4 * std::abs(kSlots * exact)) << "open_clip's accumulation";
  for (const std::int64_t micro_batch : {0, 1, 2, 4, 5})
    for (const int ranks : {1, 4}) {
      const auto ours = gradients(ranks, {}, plain({.micro_batch = micro_batch}));
      EXPECT_NEAR(ours.at("logit_scale").item<double>(), exact, 1e-5 * std::abs(exact))
          << "chunks of " << micro_batch << ", " << ranks << " ranks";
    }
}

TEST(TrainingStep, ChunksGiveEveryParameterTheGradientOfOneBigBatch) {
  const ToyOptions toy{.dropout = true, .heads = true};
  for (const bool bf16 : {false, true}) {
    auto options = combined();
    options.step.bf16 = bf16;
    const auto whole = gradients(1, toy, options);
    ASSERT_EQ(whole.size(), 6U);
    for (const std::int64_t micro_batch : {1, 2, 4, 5, 6, 7}) {
      options.step.micro_batch = micro_batch;
      for (const auto& [name, expected] : gradients(1, toy, options)) {
        const double size = whole.at(name).norm().item<double>();
        EXPECT_GT(size, 0) << name;
        EXPECT_LE((expected - whole.at(name)).norm().item<double>(), (bf16 ? 2e-2 : 1e-5) * size)
            << name << ", chunks of " << micro_batch;
      }
    }
  }
}

// The head's gradient is that of the mean over rows with targets, of all ranks, times its weight.
TEST(TrainingStep, HeadsAreMeansOverRowsWithTargets) {
  Toy model({.heads = true});
  at::Tensor sum = at::zeros({});
  double rows = 0;
  for (std::int64_t slot = 0; slot < kSlots; ++slot) {
    const auto input = rich_input_of(0, slot);
    sum = sum + model.forward(input).sum_H[0];
    rows += input.targets[0].weight_Bk.sum(1).gt(0).sum().item<double>();
  }
  EXPECT_EQ(rows, kSlots * (kRows - 1) - 1);
  const auto leaf = model.parameters()[4].second;
  const auto expected = torch::autograd::grad({sum * (0.7 / rows)}, {leaf})[0];
  for (const int ranks : {1, 2})
    EXPECT_TRUE(at::allclose(gradients(ranks, {.heads = true}, combined()).at("head"), expected, 1e-4, 1e-7));
}

TEST(TrainingStep, GatesMoveOnlyWithTheWeights) {
  run_ranks(2, [](Group& group) {
    auto options = combined();
    options.step.slots = 2;
    options.loss.gates_at_start = {.h_tc = 0.5, .h_xt = 0.25, .h_xc = 0.125};
    Toy model({.heads = true}, options.loss);
    SlotPool pool(1, 1, {});
    TrainingStep step(model, group, pool, options.step);
    auto input = rich_input_of(0, group.rank());
    const auto good = input.image_features_BT.clone();
    if (group.rank() == 1) input.image_features_BT[0][0] = std::nanf("");
    EXPECT_TRUE(step.run({input}, 0).non_finite);
    EXPECT_EQ(model.gates().h_tc, 0.5);
    input.image_features_BT = good;
    const auto done = step.run({input}, 1);
    ASSERT_EQ(done.loss.gates.size(), 6U);
    EXPECT_NE(model.gates().h_tc, 0.5);
    EXPECT_EQ(model.gates().h_tc, done.loss.gates[0].second);
    const auto& parts = done.loss.parts;  // raw texts, captions, head
    ASSERT_EQ(parts.size(), 3U);
    EXPECT_NEAR(done.loss.value, parts[0] + parts[1] + 0.7 * parts[2], 1e-9);
  });
}

TEST(TrainingStep, NonFiniteInputsSkipTheStepOnEveryRank) {
  run_ranks(2, [](Group& group) {
    Toy model({}, {.temperature = kTemperature});
    SlotPool pool(1, 1, {});
    TrainingStep step(model, group, pool, {.slots = 2, .schedule = {.peak = 1, .total_steps = 10}});
    auto input = input_of(0, group.rank());
    if (group.rank() == 1) input.image_features_BT[0][0] = std::numeric_limits<float>::infinity();
    const auto before = model.parameters()[0].second.detach().clone();
    EXPECT_TRUE(step.run({input}, 0).non_finite);
    EXPECT_TRUE(at::equal(before, model.parameters()[0].second));
    EXPECT_EQ(step.optimizer().updates(), 0);
  });
}

TEST(TrainingStep, TooFewLiveRowsAreSkipped) {
  run_ranks(2, [](Group& group) {
    Toy model({}, {.temperature = kTemperature});
    SlotPool pool(1, 1, {});
    TrainingStep step(model, group, pool, {.slots = 2, .schedule = {.peak = 1, .total_steps = 10}});
    auto input = input_of(0, group.rank());
    input.live_B.zero_();
    if (group.rank() == 1) input.live_B[0] = 1;
    EXPECT_TRUE(step.run({input}, 0).loss.too_few);
    EXPECT_EQ(step.optimizer().updates(), 0);
  });
}

}  // namespace
}  // namespace trireme::worker::stages::train

#include "worker/stages/train/training_step.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "common/base/error.h"
#include "common/base/random.h"
#include "tests/worker/collective/support/threads.h"
#include "worker/collective/slot_tree.h"

namespace trireme::worker::stages::train {
namespace {

using collective::Group;
using collective::run_ranks;

at::Tensor draw(std::int64_t rows, std::int64_t columns, std::uint64_t key) {
  RandomStream random(5, RandomPurpose::kTest, key);
  at::Tensor values = at::empty({rows, columns}, at::kFloat);
  for (std::int64_t i = 0; i < values.numel(); ++i)
    values.data_ptr<float>()[i] = static_cast<float>(random.normal());
  return values;
}

// Two layers per side on stored features.
class Toy final : public TrainableModel {
 public:
  Toy() {
    for (const auto& [name, rows, columns] :
         {std::tuple{"image.1", 24, 48}, {"image.2", 48, 16}, {"text.1", 20, 48}, {"text.2", 48, 16}})
      named_.emplace_back(name, (draw(rows, columns, name_key(name)) * 0.2).requires_grad_());
    named_.emplace_back("logit_scale", at::full({}, 2.0F).requires_grad_());
  }
  SlotOutput embed(const SlotInput& input) override {
    const auto side = [&](const at::Tensor& features, std::size_t first) {
      const auto hidden = at::gelu(at::matmul(features, named_[first].second));
      const auto out = at::matmul(hidden, named_[first + 1].second).to(at::kFloat);
      return out / out.norm(2, {1}, true);
    };
    return {side(input.image_features_BT, 0), side(input.text_features_BT, 2)};
  }
  NamedTensors parameters() override { return named_; }
  at::Tensor logit_scale() override { return named_.back().second; }
  double logit_scale_max() const override { return 2.01; }

 private:
  NamedTensors named_;
};

constexpr std::int64_t kSlots = 8, kRows = 6;

SlotInput input_of(std::int64_t step, std::int64_t slot) {
  const auto key = static_cast<std::uint64_t>(step * 1000 + slot);
  SlotInput input;
  input.image_features_BT = draw(kRows, 24, key);
  input.text_features_BT = at::cat({input.image_features_BT.narrow(1, 0, 10), draw(kRows, 10, key + 500)}, 1);
  input.live_B = at::ones({kRows}, at::kByte);
  if (slot == kSlots - 1) input.live_B[kRows - 1] = 0;
  return input;
}

struct Trained {
  std::vector<at::Tensor> weights;
  std::vector<double> losses, norms;
};

Trained train(int ranks, int threads, std::int64_t steps, bool bf16 = false, bool cache = true) {
  Trained result;
  std::mutex mutex;
  run_ranks(ranks, [&](Group& group) {
    Toy model;
    at::autocast::set_autocast_cache_enabled(cache);  // of this thread
    SlotPool pool(threads, 1, {});
    TrainingStep step(model, group, pool,
                      {.slots = kSlots,
                       .bf16 = bf16,
                       .gradient_clip_norm = 0.5,
                       .schedule = {.peak = 3e-3, .warmup_steps = 3, .total_steps = steps}});
    const auto own = collective::own_slots(kSlots, group.size(), group.rank());
    Trained mine;
    for (std::int64_t s = 0; s < steps; ++s) {
      std::vector<SlotInput> inputs;
      for (auto slot = own.first; slot < own.last; ++slot) inputs.push_back(input_of(s % 4, slot));
      const auto done = step.run(inputs, s);
      EXPECT_EQ(done.live, kSlots * kRows - 1);
      mine.losses.push_back(done.loss);
      mine.norms.push_back(done.gradient_norm);
    }
    for (const auto& [name, tensor] : model.parameters()) mine.weights.push_back(tensor.detach().clone());
    const std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < result.weights.size(); ++i)
      EXPECT_TRUE(at::equal(result.weights[i], mine.weights[i])) << "ranks disagree";
    result = mine;
  });
  return result;
}

void expect_same(const Trained& a, const Trained& b, const std::string& what) {
  EXPECT_EQ(a.losses, b.losses) << what;
  EXPECT_EQ(a.norms, b.norms) << what;
  for (std::size_t i = 0; i < a.weights.size(); ++i)
    EXPECT_TRUE(at::equal(a.weights[i], b.weights[i])) << what << ", parameter " << i;
}

TEST(TrainingStep, LearnsAndClampsTheTemperature) {
  const auto trained = train(1, 2, 60);
  EXPECT_LT(trained.losses.back(), 0.6 * trained.losses.front());
  EXPECT_LE(trained.weights.back().item<double>(), 2.01 + 1e-6);
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

// The gradient that reaches AdamW is that of the whole batch, by autograd over the full matrix.
TEST(TrainingStep, GradientNormIsThatOfTheGlobalLoss) {
  Toy model;
  std::vector<at::Tensor> image, text, live, leaves;
  for (std::int64_t slot = 0; slot < kSlots; ++slot) {
    const auto input = input_of(0, slot);
    const auto output = model.embed(input);
    image.push_back(output.image_BD);
    text.push_back(output.text_BD);
    live.push_back(input.live_B);
  }
  const auto mask = at::cat(live).to(at::kBool);
  const auto s =
      model.logit_scale().exp() * at::mm(at::cat(image).index({mask}), at::cat(text).index({mask}).t());
  const auto loss = -(at::log_softmax(s, 1).diagonal().mean() + at::log_softmax(s, 0).diagonal().mean()) / 2;
  for (const auto& [name, leaf] : model.parameters()) leaves.push_back(leaf);
  double squares = 0;
  for (const auto& gradient : torch::autograd::grad({loss}, leaves))
    squares += gradient.to(at::kDouble).square().sum().item<double>();
  const auto step = train(2, 1, 1);
  EXPECT_NEAR(step.losses[0], loss.item<double>(), 1e-5);
  EXPECT_NEAR(step.norms[0], std::sqrt(squares), 1e-5);
}

TEST(TrainingStep, NonFiniteInputsSkipTheStepOnEveryRank) {
  run_ranks(2, [](Group& group) {
    Toy model;
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
    Toy model;
    SlotPool pool(1, 1, {});
    TrainingStep step(model, group, pool, {.slots = 2, .schedule = {.peak = 1, .total_steps = 10}});
    auto input = input_of(0, group.rank());
    input.live_B.zero_();
    if (group.rank() == 1) input.live_B[0] = 1;
    EXPECT_TRUE(step.run({input}, 0).too_few);
    EXPECT_EQ(step.optimizer().updates(), 0);
  });
}

}  // namespace
}  // namespace trireme::worker::stages::train

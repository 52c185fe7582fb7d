#include "worker/losses/alip_gates.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "common/base/error.h"
#include "tests/worker/collective/support/threads.h"
#include "tests/worker/losses/support/full_matrix.h"
#include "worker/collective/slot_tree.h"

namespace trireme::worker::losses {
namespace {

using collective::Group;
using collective::run_ranks;

WholeBatch standard(std::int64_t slots) {
  const auto input = standard_input();
  return {.image = input.x,
          .texts = {input.t, input.c},
          .live = at::ones({4}, at::kByte),
          .slots = slots,
          .point = {.scale = 1 / 0.07}};
}

// Weights of the whole batch, [pair] [N], and the state after.
struct Weights {
  GateStep step;
  std::vector<at::Tensor> pair;
};

Weights weigh(const WholeBatch& batch, const GateState& state, const GateOptions& options, int ranks) {
  std::vector<std::vector<at::Tensor>> of_slot(static_cast<std::size_t>(batch.slots));
  Weights result;
  std::mutex mutex;
  run_ranks(ranks, [&](Group& group) {
    const auto step = alip_gates(slots_of(batch, ranks, group.rank()), batch.slots, state, options, group);
    const std::lock_guard lock(mutex);
    const auto first = collective::own_slots(batch.slots, ranks, group.rank()).first;
    for (std::size_t i = 0; i < step.weight_b.size(); ++i)
      of_slot[static_cast<std::size_t>(first) + i] = step.weight_b[i];
    result.step = step;
  });
  for (const std::size_t p : {0U, 1U}) {
    std::vector<at::Tensor> parts;
    for (const auto& slot : of_slot) parts.push_back(slot[p]);
    result.pair.push_back(at::cat(parts));
  }
  return result;
}

void expect_values(const at::Tensor& got, const std::vector<double>& want, double tolerance = 5e-10) {
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(got[static_cast<std::int64_t>(i)].item<double>(), want[i], tolerance) << i;
}

TEST(AlipGates, NumbersOfTheCodeForm) {
  for (const std::int64_t slots : {1, 2, 4}) {
    auto batch = standard(slots);
    const int ranks = static_cast<int>(slots);
    auto weights = weigh(batch, {}, {}, ranks);
    EXPECT_NEAR(weights.step.state.h_tc, .9977284345, 5e-11);
    EXPECT_NEAR(weights.step.state.h_xt, .9992589709, 5e-11);
    EXPECT_NEAR(weights.step.state.h_xc, .9993498675, 5e-11);
    const double s[4] = {.9606588356, .9777792596, .4275767685, .4119508952};
    const double t[4] = {.9907361258, .9849870706, .7543398645, .7553689649};
    const double c[4] = {.9782431068, .9537922874, .8184588967, .7824960184};
    for (int i = 0; i < 4; ++i) {
      EXPECT_NEAR(weights.pair[0][i].item<double>(), s[i] * t[i], 2e-10);
      EXPECT_NEAR(weights.pair[1][i].item<double>(), s[i] * c[i], 2e-10);
    }
    EXPECT_NEAR(weights.step.mean_sample, (s[0] + s[1] + s[2] + s[3]) / 4, 2e-10);

    batch.weights = weights.pair;
    auto result = streamed(batch, ranks);
    EXPECT_NEAR(result.pair_loss[0], .0348196883, 5e-11);
    EXPECT_NEAR(result.pair_loss[1], .0003379589, 5e-11);
    EXPECT_NEAR(result.loss, .0351576472, 5e-11);
    EXPECT_NEAR(result.log_scale * 0.07, -.0025859241, 5e-11);
    expect_values(result.image[0], {.0070509405, -.0053976240, .0059875577}, 5e-11);
    expect_values(result.texts[0][0], {-.0017924364, -.0029657536, -.0023311270}, 5e-11);
    expect_values(result.texts[1][3], {-.0005007316, .0010380966, -.0015251702}, 5e-11);
    batch.options.reduction = Reduction::kSum;  // the paper's form
    EXPECT_NEAR(streamed(batch, ranks).loss, .2812611779, 5e-10);
    batch.options.reduction = Reduction::kHalfMean;

    weights = weigh(batch, weights.step.state, {}, ranks);
    EXPECT_NEAR(weights.step.state.h_tc, .9954795848, 5e-11);
    EXPECT_NEAR(weights.step.state.h_xt, .9985253521, 5e-11);
    EXPECT_NEAR(weights.step.state.h_xc, .9987062363, 5e-11);
    batch.weights = weights.pair;
    result = streamed(batch, ranks);
    EXPECT_NEAR(result.pair_loss[0], .0350280063, 5e-11);
    EXPECT_NEAR(result.pair_loss[1], .0003399197, 5e-11);
    EXPECT_NEAR(result.loss, .0353679259, 5e-11);
    batch.weights.clear();
    EXPECT_NEAR(streamed(batch, ranks).pair_loss[1], .0009168552, 5e-11);
  }
}

TEST(AlipGates, NumbersAtFixedMeans) {
  const auto weights = weigh(standard(1), {.h_tc = .9, .h_xt = .5, .h_xc = .5}, {.momentum = 1}, 1);
  const double s[4] = {1, 1, .5198762055, .5008772319}, t[4] = {1, 1, 2.0474716243, 2.0502648666},
               c[4] = {1, 1, 2.2219109939, 2.1242807831};
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(weights.pair[0][i].item<double>(), s[i] * t[i], 5e-10);
    EXPECT_NEAR(weights.pair[1][i].item<double>(), s[i] * c[i], 5e-10);
  }
}

TEST(AlipGates, ArmsAreTheProductOfWhatIsOn) {
  const GateState state{.h_tc = .9, .h_xt = .5, .h_xc = .5};
  const auto batch = standard(2);
  const auto arm = [&](bool sample, bool text, bool caption) {
    return weigh(batch, state, {.sample = sample, .text = text, .caption = caption, .momentum = 1}, 2);
  };
  const auto none = arm(false, false, false), s = arm(true, false, false), t = arm(false, true, false),
             c = arm(false, false, true), all = arm(true, true, true);
  for (const std::size_t p : {0U, 1U}) {
    EXPECT_TRUE(at::equal(none.pair[p], at::ones({4}, at::kDouble)));
    EXPECT_TRUE(at::allclose(all.pair[p], s.pair[p] * (p == 0 ? t.pair[0] : c.pair[1])));
  }
  EXPECT_TRUE(at::equal(t.pair[1], none.pair[1]));  // W^t concerns the text's pair alone
  EXPECT_TRUE(at::equal(c.pair[0], none.pair[0]));
  EXPECT_GT(t.pair[0].max().item<double>(), 1);  // pair weights are not capped
}

TEST(AlipGates, GammaZeroIsTheUnweightedSum) {
  auto batch = standard(2);
  const auto plain = streamed(batch, 2);
  batch.weights = weigh(batch, {}, {.gamma_sample = 0, .gamma_pair = 0}, 2).pair;
  EXPECT_EQ(difference(streamed(batch, 2), plain, 1e-14), "");
}

TEST(AlipGates, CaptionEqualToTheTextIsTwiceClip) {
  auto batch = standard(1);
  batch.texts[1] = batch.texts[0];
  batch.weights = weigh(batch, {.h_tc = .99}, {}, 1).pair;
  EXPECT_NEAR(streamed(batch, 1).loss, .2185615813, 5e-11);
}

TEST(AlipGates, MeansStayBetweenStartAndBatchMeansAndDeadRowsDoNotCount) {
  auto batch = standard(4);
  GateState state{.h_tc = 0.5, .h_xt = 0.5, .h_xc = 0.5};
  batch.live[2] = 0;
  batch.image[2].fill_(std::nan(""));
  const double mean = (0.9776604632 + 0.9864927643 + 0.5543028730) / 3;
  for (int step = 0; step < 50; ++step) {
    const auto next = weigh(batch, state, {}, 2).step.state;
    EXPECT_GT(next.h_tc, state.h_tc);
    EXPECT_LT(next.h_tc, mean + 1e-9);
    EXPECT_NEAR(next.h_tc, 0.99 * state.h_tc + 0.01 * mean, 1e-9);
    state = next;
  }
  batch.live.zero_();
  const auto still = weigh(batch, state, {}, 2).step.state;
  EXPECT_EQ(still.h_tc, state.h_tc);
}

TEST(AlipGates, BitsDoNotDependOnTheNumberOfRanks) {
  auto batch = standard(4);
  batch.image = batch.image.to(at::kFloat);
  for (auto& text : batch.texts) text = text.to(at::kFloat);
  const auto alone = weigh(batch, {}, {}, 1);
  for (const int ranks : {2, 4}) {
    const auto shared = weigh(batch, {}, {}, ranks);
    EXPECT_EQ(shared.step.state.h_tc, alone.step.state.h_tc);
    EXPECT_EQ(shared.step.mean_text, alone.step.mean_text);
    for (const std::size_t p : {0U, 1U}) EXPECT_TRUE(at::equal(shared.pair[p], alone.pair[p]));
  }
}

TEST(AlipGates, SavedMeansContinueTheUnbrokenRun) {
  const auto batch = standard(2);
  GateState unbroken = weigh(batch, {}, {}, 1).step.state;
  const auto saved = tensors_of(unbroken);
  const auto resumed = weigh(batch, gate_state_from(saved), {}, 1);
  EXPECT_EQ(resumed.step.state.h_tc, weigh(batch, unbroken, {}, 1).step.state.h_tc);
  auto damaged = saved;
  damaged[1].second = at::full({}, NAN, at::kDouble);
  EXPECT_THROW(gate_state_from(damaged), Error);
  damaged.erase(damaged.begin());
  EXPECT_THROW(gate_state_from(damaged), Error);
}

TEST(AlipGates, RefusesWhatCannotBe) {
  EXPECT_THROW(check(GateOptions{.gamma_sample = -1}), Error);
  EXPECT_THROW(check(GateOptions{.momentum = 1.5}), Error);
  auto batch = standard(1);
  batch.texts.resize(1);
  try {
    weigh(batch, {}, {}, 1);
    FAIL() << "gates without captions";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("caption"), std::string::npos);
  }
}

}  // namespace
}  // namespace trireme::worker::losses

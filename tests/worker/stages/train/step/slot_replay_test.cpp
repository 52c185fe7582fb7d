// A slot's way there and back, recorded and replayed, with a recorder on the CPU that runs the work again
// when it is replayed. Real graphs need a GPU (tests/gpu/run.sh).
#include "worker/stages/train/step/slot_replay.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <optional>

#include "tests/support/registered_replay.h"

namespace trireme::worker::stages::train {
namespace {

int recorded = 0, replayed = 0;
int wrong_at = 0;  // the replay that leaves what was there

std::function<void()> fake_record(const at::Device&, const std::function<void()>& work, std::string&) {
  ++recorded;
  work();
  return [work] {
    if (++replayed != wrong_at) work();
  };
}

class SlotReplayTest : public ::testing::Test {
 protected:
  SlotReplayTest() { recorded = replayed = wrong_at = 0; }

  SlotOutput pass(const SlotInput& input) {
    ++passes;
    return {{at::gelu(at::matmul(input.image_BCHW.flatten(1), weight)),
             at::sin(input.text_features_BT * weight[0][0] + drawn)}};
  }
  void back(const SlotOutput& output, const SlotSlopes& slopes, bool keep, at::Tensor& flat) {
    const auto gradient = torch::autograd::grad(output.rows_BD, {weight}, slopes.rows_BD, keep)[0];
    const at::NoGradGuard no_grad;
    flat.copy_(gradient.flatten());
  }

  // One step on rows drawn by `key`, by the replay and as it is; the weights move.
  void step(std::int64_t rows, std::uint64_t key) {
    at::manual_seed(key);
    SlotInput input;
    input.image_BCHW = at::randn({rows, 3, 2, 2});
    input.text_features_BT = at::randn({rows, 5});
    const auto output = replay.forward(0, input, [this](const SlotInput& from) { return pass(from); });
    const auto want = pass(input);
    SlotSlopes slopes{{at::randn({rows, 4}), at::randn({rows, 5})}, {}};
    at::Tensor flat = at::empty({48}), want_flat = at::empty({48});
    for (std::size_t p = 0; p < 2; ++p)
      EXPECT_TRUE(at::equal(output.rows_BD[p].detach(), want.rows_BD[p].detach())) << key;
    replay.backward(
        0, output, slopes,
        [this](const auto& at_rows, const auto& with, bool keep, at::Tensor& into) {
          back(at_rows, with, keep, into);
        },
        flat);
    back(want, slopes, false, want_flat);
    EXPECT_TRUE(at::equal(flat, want_flat)) << key;
    const at::NoGradGuard no_grad;
    weight.sub_(0.01 * want_flat.view({12, 4}));
  }

  SlotReplay replay{1};
  at::Tensor weight = at::full({12, 4}, 0.1F).set_requires_grad(true);
  double drawn = 0;
  std::optional<kernels::RegisteredReplay> registered{std::in_place, &fake_record};
  int passes = 0;
};

TEST_F(SlotReplayTest, ThereAndBackAreRecordedOnceAndGiveWhatThePassGives) {
  for (std::uint64_t key = 0; key < 6; ++key) step(7, key);
  EXPECT_EQ(recorded, 2) << "at the second step, there and back";
  EXPECT_EQ(replayed, 2 + 2 * 4) << "once each to compare, then in place of the passes";
}

TEST_F(SlotReplayTest, TwoShapesAreRecordedAndOthersRun) {
  for (std::uint64_t key = 0; key < 12; ++key) step(3 + static_cast<std::int64_t>(key % 3), key);
  EXPECT_EQ(recorded, 4);
}

TEST_F(SlotReplayTest, ARecordingThatGivesOtherRowsIsNeverUsed) {
  wrong_at = 1;
  // What stands there is of the recording's own run: with the same rows it would be right.
  drawn = 0;
  at::manual_seed(5);
  SlotInput input;
  input.image_BCHW = at::randn({2, 3, 2, 2});
  input.text_features_BT = at::randn({2, 5});
  const auto drawing = [this](const SlotInput& from) {
    drawn += 1;
    return pass(from);
  };
  for (int i = 0; i < 4; ++i) {
    const auto output = replay.forward(0, input, drawing);
    EXPECT_TRUE(output.rows_BD[1].requires_grad()) << "the pass itself";
  }
  EXPECT_EQ(recorded, 1);
  EXPECT_EQ(replayed, 1);
}

TEST_F(SlotReplayTest, ARecordingThatGivesOtherGradientsIsNeverUsed) {
  wrong_at = 2;  // the way back: what it wrote while it was recorded is spoilt first
  const auto spoil = [this](const SlotOutput& output, const SlotSlopes& slopes, bool keep, at::Tensor& flat) {
    back(output, slopes, keep, flat);
    if (keep) flat.add_(1);
  };
  for (std::uint64_t key = 0; key < 4; ++key) {
    SlotInput input;
    input.image_BCHW = at::randn({2, 3, 2, 2});
    input.text_features_BT = at::randn({2, 5});
    const auto output = replay.forward(0, input, [this](const SlotInput& from) { return pass(from); });
    EXPECT_TRUE(output.rows_BD[0].requires_grad());
    at::Tensor flat = at::empty({48}), want = at::empty({48});
    const SlotSlopes slopes{{at::ones({2, 4}), at::ones({2, 5})}, {}};
    const auto again = pass(input);
    replay.backward(0, output, slopes, spoil, flat);
    back(again, slopes, false, want);
    EXPECT_TRUE(at::equal(flat, want));
  }
  EXPECT_EQ(recorded, 2);
}

TEST_F(SlotReplayTest, WhatGivesMoreThanRowsAndOtherDevicesRun) {
  const auto with_sum = [this](const SlotInput& from) {
    auto output = pass(from);
    output.sum_H = output.rows_BD[0].sum().view({1});
    return output;
  };
  SlotInput input;
  input.image_BCHW = at::randn({2, 3, 2, 2});
  input.text_features_BT = at::randn({2, 5});
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(replay.forward(0, input, with_sum).sum_H.defined());
  registered.emplace(&fake_record, c10::DispatchKey::CUDA);
  SlotReplay elsewhere{1};
  for (int i = 0; i < 4; ++i)
    elsewhere.forward(0, input, [this](const SlotInput& from) { return pass(from); });
  EXPECT_EQ(recorded, 0);
}

}  // namespace
}  // namespace trireme::worker::stages::train

// The rules of recording and replaying, with a recorder on the CPU that runs the work again when it is
// replayed: what a CUDA graph does to memory, it does by calling. Real graphs need a GPU
// (replay_cuda_test.cpp).
#include "worker/kernels/replay/replay.h"

#include <atomic>
#include <optional>
#include <stdexcept>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include "tests/support/registered_replay.h"

namespace trireme::worker::kernels {
namespace {

int recorded = 0, replayed = 0;
bool damaged = false;
std::string refusal;

std::function<void()> fake_record(const at::Device&, const std::function<void()>& work, std::string& why) {
  if (!refusal.empty()) {
    why = refusal;
    return nullptr;
  }
  ++recorded;
  work();
  return [work] {
    ++replayed;
    if (!damaged) work();
  };
}

class ReplayTest : public ::testing::Test {
 protected:
  ReplayTest() {
    recorded = replayed = 0;
    damaged = false;
    refusal.clear();
  }

  at::Tensor run(const at::Tensor& input) {
    const at::NoGradGuard no_gradients;
    return replay_.run(input, pass_);
  }

  std::optional<RegisteredReplay> registered_{std::in_place, &fake_record};
  int calls_ = 0;
  Replay::Pass pass_ = [this](const at::Tensor& x) {
    ++calls_;
    return x * 2 + 1;
  };
  Replay replay_;
};

TEST_F(ReplayTest, EveryShapeIsRecordedWhenItComesAgain) {
  for (int round = 0; round < 5; ++round)
    for (const std::int64_t rows : {2, 3}) {
      const at::Tensor x = at::randn({rows, 4});
      EXPECT_TRUE(at::equal(run(x), x * 2 + 1)) << round;
    }
  EXPECT_EQ(recorded, 2);
  EXPECT_EQ(replayed, 2 * (1 + 3));  // once to compare, then in place of the pass
  run(at::ones({2, 4}, at::kDouble));
  EXPECT_EQ(recorded, 2);
  run(at::ones({2, 4}, at::kDouble));
  EXPECT_EQ(recorded, 3);  // another dtype is another shape
  replay_.forget();
  run(at::ones({2, 4}));
  EXPECT_EQ(recorded, 3);
}

TEST_F(ReplayTest, WhatIsGivenOutStaysAsItIs) {
  const at::Tensor one = at::ones({2});
  for (int i = 0; i < 3; ++i) run(one);
  const at::Tensor kept = run(one);
  run(at::zeros({2}));
  EXPECT_TRUE(at::equal(kept, at::full({2}, 3.0)));
}

TEST_F(ReplayTest, GradientsAndOtherDevicesRunAsTheyAre) {
  const at::Tensor x = at::ones({2}).set_requires_grad(true);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(replay_.run(x, pass_).requires_grad());
  registered_.emplace(&fake_record, c10::DispatchKey::CUDA);
  for (int i = 0; i < 4; ++i) run(at::ones({2}));
  registered_.reset();
  for (int i = 0; i < 4; ++i) run(at::ones({2}));
  EXPECT_EQ(recorded, 0);
  EXPECT_EQ(calls_, 12);
}

TEST_F(ReplayTest, AWrongRecordingIsNeverUsed) {
  const at::Tensor x = at::ones({3});
  pass_ = [this](const at::Tensor& input) { return input + ++calls_; };  // another result whenever it runs
  for (int i = 0; i < 5; ++i) {
    const int before = calls_;
    EXPECT_EQ(run(x)[0].item<double>(), 2 + before);  // what the pass itself gave
  }
  EXPECT_EQ(recorded, 1);
  EXPECT_EQ(replayed, 1);
}

TEST_F(ReplayTest, APassThatCannotBeRecordedRuns) {
  refusal = "it waits for the device";
  const at::Tensor x = at::ones({3});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(at::equal(run(x), x * 3));
  EXPECT_EQ(calls_, 5);
  pass_ = [](const at::Tensor&) -> at::Tensor { throw std::runtime_error("no"); };
  EXPECT_THROW(run(x), std::runtime_error);
}

TEST_F(ReplayTest, CastsOfWeightsBelongToTheRecording) {
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  std::vector<bool> kept;
  pass_ = [&](const at::Tensor& x) {
    kept.push_back(at::autocast::is_autocast_cache_enabled());
    return x + 1;
  };
  run(at::ones({2}));
  run(at::ones({2}));
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_EQ(kept, (std::vector<bool>{true, true, false, true}));  // twice as it is, recorded, replayed
  run(at::ones({2}));
  run(at::ones({2}));
  EXPECT_EQ(recorded, 2);  // without autocast it is another pass
}

TEST_F(ReplayTest, ThreadsTakeTurns) {
  pass_ = [](const at::Tensor& x) { return x * 2 + 1; };
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const at::Tensor x = at::full({8}, t * 1000 + i);
        if (!at::equal(run(x), x * 2 + 1)) ++wrong;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(recorded, 1);
}

}  // namespace
}  // namespace trireme::worker::kernels

#include "worker/stages/train/run/guard.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>

#include "common/base/error.h"
#include "worker/collective/local/local_group.h"

namespace trireme::worker::stages::train {
namespace {

TEST(Guard, SkipsUntilTooManyStepsInARow) {
  Guard guard({.on_non_finite = jobs::OnNonFinite::kSkip, .most_in_a_row = 3});
  EXPECT_EQ(guard.after(1, true, 0), GuardAction::kGoOn);
  EXPECT_EQ(guard.after(2, true, 0), GuardAction::kGoOn);
  EXPECT_EQ(guard.after(3, false, 0), GuardAction::kGoOn);
  EXPECT_EQ(guard.after(4, true, 0), GuardAction::kGoOn);
  EXPECT_EQ(guard.after(5, true, 0), GuardAction::kGoOn);
  try {
    guard.after(6, true, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(error.what()).find("3 steps in a row up to step 6"), std::string::npos);
  }
}

TEST(Guard, StopsAtTheFirst) {
  Guard guard({.on_non_finite = jobs::OnNonFinite::kStop});
  EXPECT_EQ(guard.after(1, false, 0), GuardAction::kGoOn);
  EXPECT_THROW(guard.after(2, true, 0), Error);
}

TEST(Guard, RollsBackAFewTimes) {
  Guard guard({.on_non_finite = jobs::OnNonFinite::kRollback, .most_rollbacks = 2});
  EXPECT_EQ(guard.after(1, false, 0), GuardAction::kGoOn);
  EXPECT_EQ(guard.after(2, true, 0), GuardAction::kRollBack);
  EXPECT_EQ(guard.after(3, true, 1), GuardAction::kRollBack);
  EXPECT_THROW(guard.after(4, true, 2), Error);
}

// What each rank is told when `change` has altered its tensors; "" where nothing is wrong.
std::vector<std::string> told(int ranks, const std::function<void(int rank, NamedTensors&)>& change) {
  auto groups = collective::make_local_groups(ranks);
  std::vector<Rank> members;
  for (int rank = 0; rank < ranks; ++rank) members.push_back(10 + rank);
  std::vector<std::string> said(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      NamedTensors tensors{{"weight", at::arange(24, at::kFloat).view({4, 6}).t()},
                           {"half", at::ones({3}, at::kBFloat16)},
                           {"steps", at::full({}, 7, at::kLong)},
                           {"none", at::empty({0}, at::kFloat)}};
      change(rank, tensors);
      try {
        compare_replicas(tensors, 300, *groups[static_cast<std::size_t>(rank)], members);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
        said[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  for (auto& thread : threads) thread.join();
  return said;
}

TEST(Replicas, EqualOnesAreLeftAlone) {
  for (int ranks : {1, 2, 4})
    for (const auto& said : told(ranks, [](int, NamedTensors&) {})) EXPECT_EQ(said, "");
}

TEST(Replicas, EveryBitThatFlipsNamesItsWorkerToAll) {
  for (std::size_t of : {0U, 1U, 2U})
    for (int bit : {0, 5, 15}) {
      const auto said = told(4, [&](int rank, NamedTensors& tensors) {
        if (rank == 2) static_cast<unsigned char*>(tensors[of].second.data_ptr())[bit / 8] ^= 1U << (bit % 8);
      });
      for (const auto& one : said)
        EXPECT_NE(one.find("after step 300 worker 12 holds other bits in"), std::string::npos) << one;
    }
}

TEST(Replicas, OfTwoItCannotBeTold) {
  for (const auto& one : told(2, [](int rank, NamedTensors&tensors) {
         if (rank == 0) tensors[0].second[1][2] = 5;
       }))
    EXPECT_NE(one.find("workers 10, 11 hold different bits in 'weight'"), std::string::npos) << one;
}

}  // namespace
}  // namespace trireme::worker::stages::train

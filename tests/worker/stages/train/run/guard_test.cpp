#include "worker/stages/train/run/guard.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

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

}  // namespace
}  // namespace trireme::worker::stages::train

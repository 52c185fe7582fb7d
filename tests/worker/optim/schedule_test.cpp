#include "worker/optim/schedule.h"

#include <gtest/gtest.h>

namespace trireme::worker::optim {
namespace {

TEST(Schedule, AlignsNumbers) {  // METHODS 10.5
  const Schedule align{.peak = 1e-3, .warmup_steps = 10000, .total_steps = 1200000};
  EXPECT_DOUBLE_EQ(learning_rate(align, 0), 0);
  EXPECT_DOUBLE_EQ(learning_rate(align, 5000), 5e-4);
  EXPECT_DOUBLE_EQ(learning_rate(align, 10000), 1e-3);
  EXPECT_NEAR(learning_rate(align, 605000), 5e-4, 1e-15);
  EXPECT_NEAR(learning_rate(align, 1200000), 0, 1e-18);
}

TEST(Schedule, ConstantAfterTheWarmUp) {
  const Schedule constant{.peak = 2, .warmup_steps = 4, .total_steps = 10, .cosine = false};
  EXPECT_DOUBLE_EQ(learning_rate(constant, 1), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(constant, 4), 2);
  EXPECT_DOUBLE_EQ(learning_rate(constant, 1000), 2);
}

TEST(Schedule, WarmUpLongerThanTraining) {
  const Schedule odd{.peak = 1, .warmup_steps = 10, .total_steps = 5};
  EXPECT_DOUBLE_EQ(learning_rate(odd, 4), 0.4);
}

}  // namespace
}  // namespace trireme::worker::optim

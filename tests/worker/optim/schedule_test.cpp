#include "worker/optim/schedule.h"

#include <gtest/gtest.h>

namespace trireme::worker::optim {
namespace {

double learning_rate(const Schedule& schedule, std::int64_t step) {
  return rates(schedule, step).learning_rate;
}

TEST(Schedule, AlignsNumbers) {  // METHODS 10.5
  const Schedule align{.peak = 1e-3, .warmup_steps = 10000, .total_steps = 1200000, .shape = Shape::kLinear};
  EXPECT_DOUBLE_EQ(learning_rate(align, 0), 0);
  EXPECT_DOUBLE_EQ(learning_rate(align, 5000), 5e-4);
  EXPECT_DOUBLE_EQ(learning_rate(align, 10000), 1e-3);
  EXPECT_NEAR(learning_rate(align, 605000), 5e-4, 1e-15);
  EXPECT_NEAR(learning_rate(align, 1200000), 0, 1e-18);
  EXPECT_NEAR(learning_rate(align, 302500), 1e-3 * (1 - 292500.0 / 1190000), 1e-15) << "a line";
}

TEST(Schedule, CosineEndsAtZero) {
  const Schedule cosine{.peak = 1e-3, .warmup_steps = 10, .total_steps = 110};
  EXPECT_DOUBLE_EQ(learning_rate(cosine, 5), 5e-4);
  EXPECT_DOUBLE_EQ(learning_rate(cosine, 10), 1e-3);
  EXPECT_NEAR(learning_rate(cosine, 35), 1e-3 * 0.8535533905932737, 1e-15) << "a quarter: (1 + cos 45 deg)/2";
  EXPECT_NEAR(learning_rate(cosine, 110), 0, 1e-18);
  EXPECT_NEAR(learning_rate(cosine, 500), 0, 1e-18) << "it stays";
}

TEST(Schedule, OneCycleIsTorchs) {  // METHODS 10.5, ALIP
  const Schedule alip{.peak = 1e-3, .total_steps = 100, .shape = Shape::kOneCycle};
  const struct {
    std::int64_t step;
    double rate, beta1;
  } expected[] = {{0, 4e-5, .95},
                  {1, 6.8947542e-5, .9469846},
                  {5, 6.0335113e-4, .8913176},
                  {9, 1e-3, .85},
                  {10, 9.9969541e-4, .8500305},
                  {50, 5.6958827e-4, .8930413},
                  {98, 3.0858527e-7, .9499695},
                  {99, 4e-9, .95},
                  {1000, 4e-9, .95}};
  for (const auto& [step, rate, beta1] : expected) {
    const Rates at = rates(alip, step);
    EXPECT_NEAR(at.learning_rate, rate, rate * 1e-7) << step;
    EXPECT_NEAR(at.beta1, beta1, 1e-7) << step;
  }
  Schedule still = alip;
  still.one_cycle.cycle_beta1 = false;
  EXPECT_EQ(rates(still, 50).beta1, 0.9);
  EXPECT_EQ(rates(still, 50).learning_rate, rates(alip, 50).learning_rate);
}

TEST(Schedule, OneCycleOfFewSteps) {
  for (const std::int64_t steps : {1, 2, 5, 19}) {  // the rise is shorter than two steps
    const Schedule shortest{.peak = 1, .total_steps = steps, .shape = Shape::kOneCycle};
    for (std::int64_t step = 0; step < steps; ++step) {
      EXPECT_GT(learning_rate(shortest, step), 0) << step << " of " << steps;
      EXPECT_LE(learning_rate(shortest, step), 1) << step << " of " << steps;
    }
  }
}

TEST(Schedule, ConstantAfterTheWarmUp) {
  const Schedule constant{
      .peak = 2, .warmup_steps = 4, .total_steps = 10, .shape = Shape::kConstant, .beta1 = 0.8};
  EXPECT_DOUBLE_EQ(learning_rate(constant, 1), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(constant, 4), 2);
  EXPECT_DOUBLE_EQ(learning_rate(constant, 1000), 2);
  EXPECT_EQ(rates(constant, 7).beta1, 0.8);
}

TEST(Schedule, WarmUpLongerThanTraining) {
  const Schedule odd{.peak = 1, .warmup_steps = 10, .total_steps = 5};
  EXPECT_DOUBLE_EQ(learning_rate(odd, 4), 0.4);
}

}  // namespace
}  // namespace trireme::worker::optim

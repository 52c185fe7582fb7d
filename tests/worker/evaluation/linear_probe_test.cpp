#include "worker/evaluation/linear_probe.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/base/error.h"
#include "tests/worker/evaluation/support.h"

namespace trireme::worker::evaluation {
namespace {

TEST(LinearProbe, EqualsScikitLearn) {
  struct Oracle {
    double c;
    std::vector<double> first_two_weights, intercept;  // class by class
    double accuracy;
  };
  const std::vector<Oracle> oracles{{0.05,
                                     {0.4133405, -0.2215035, -0.0312184, 0.3516583, -0.3821221, -0.1301548},
                                     {0.1003481, -0.0834681, -0.01688},
                                     0.775},
                                    {0.5,
                                     {1.2472418, -0.7473684, -0.1122578, 1.2511976, -1.134984, -0.5038292},
                                     {0.1671505, -0.3151622, 0.1480117},
                                     0.825},
                                    {20,
                                     {3.0598854, -2.4955085, -0.8230877, 4.383398, -2.2367978, -1.8878895},
                                     {0.7881501, -1.7036081, 0.9154581},
                                     0.875}};
  const auto train = probe_rows(1, 60), test = probe_rows(61, 40);
  for (const auto& oracle : oracles) {
    const auto fit = fit_logistic_regression(train.x_N5, train.label_N, 3, oracle.c);
    EXPECT_TRUE(at::allclose(fit.weight_KD.narrow(1, 0, 2),
                             at::tensor(oracle.first_two_weights, at::kDouble).view({3, 2}), 0, 2e-6));
    EXPECT_TRUE(
        at::allclose(fit.bias_K - fit.bias_K.mean(), at::tensor(oracle.intercept, at::kDouble), 0, 2e-6));
    EXPECT_NEAR(accuracy(fit, test.x_N5, test.label_N), oracle.accuracy, 1e-12);
  }
}

TEST(LinearProbe, AStrongPenaltyKeepsTheStart) {
  const auto rows = probe_rows(1, 60);
  const auto start = at::randn({3, 5}, at::kDouble);
  const auto fit = fit_logistic_regression(rows.x_N5, rows.label_N, 3, 1e-9, start);
  EXPECT_TRUE(at::allclose(fit.weight_KD, start, 0, 1e-6));
  const auto free = fit_logistic_regression(rows.x_N5, rows.label_N, 3, 1, start);
  EXPECT_GT((free.weight_KD - start).norm().item<double>(), 0.1);
}

TEST(LinearProbe, TheSweepFindsWhatAFullGridFinds) {
  const auto rows = probe_rows(1, 150);
  const ProbeSweep sweep = sweep_logistic_regression(rows.x_N5, rows.label_N, 3, 1);
  EXPECT_GT(sweep.validation_accuracy, 0.7);
  EXPECT_GE(sweep.c, 1e-6);
  EXPECT_LE(sweep.c, 1e6);
  const double index = (std::log10(1 / sweep.c) + 6) * 8;
  EXPECT_NEAR(index, std::round(index), 1e-6);  // a point of the grid
  const auto test = probe_rows(151, 60);
  EXPECT_GT(accuracy(sweep.classifier, test.x_N5, test.label_N), 0.75);
  const ProbeSweep again = sweep_logistic_regression(rows.x_N5, rows.label_N, 3, 1);
  EXPECT_TRUE(at::equal(again.classifier.weight_KD, sweep.classifier.weight_KD));
}

TEST(LinearProbe, FaultsAreNamed) {
  const auto rows = probe_rows(1, 10);
  EXPECT_THROW(fit_logistic_regression(rows.x_N5, rows.label_N, 2, 1), Error);
  EXPECT_THROW(fit_logistic_regression(rows.x_N5, rows.label_N.narrow(0, 0, 4), 3, 1), Error);
  auto broken = rows.x_N5.clone();
  broken[3][2] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(fit_logistic_regression(broken, rows.label_N, 3, 1), Error);
  EXPECT_THROW(sweep_logistic_regression(rows.x_N5.narrow(0, 0, 3), at::arange(3), 3, 1), Error);
}

}  // namespace
}  // namespace trireme::worker::evaluation

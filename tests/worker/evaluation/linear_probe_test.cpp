#include "worker/evaluation/linear_probe.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>

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

// Two workers, each with rows of its own, meet at every sum.
class Meeting {
 public:
  void sum(std::size_t rank, at::Tensor& own) {
    std::unique_lock lock(mutex_);
    const std::int64_t turn = turn_;
    parts_[rank] = own;
    if (++arrived_ == 2) {
      total_ = sum_in_pairs(at::stack({parts_[0], parts_[1]}));
      arrived_ = 0;
      ++turn_;
      all_here_.notify_all();
    } else {
      all_here_.wait(lock, [&] { return turn_ != turn; });
    }
    own.copy_(total_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_here_;
  std::array<at::Tensor, 2> parts_;
  at::Tensor total_;
  int arrived_ = 0;
  std::int64_t turn_ = 0;
};

// A library's own threads give other last bits: one worker has all threads of a host, two have half of them.
TEST(LinearProbe, AnyNumberOfThreadsComesToTheSameBits) {
  const int before = at::get_num_threads();
  const auto drawn = at::arange(900 * 70, at::kDouble).mul(12.9898).sin().mul(43758.5453).view({900, 70});
  const auto x_ND = drawn - drawn.floor(), label_N = at::arange(900) * 7 % 20;
  for (const auto type : {at::kDouble, at::kFloat}) {
    std::vector<LinearClassifier> found;
    for (const int threads : {1, 2, 3}) {
      at::set_num_threads(threads);
      found.push_back(fit_logistic_regression(x_ND.to(type), label_N, 20, 0.7));
      EXPECT_EQ(at::get_num_threads(), threads) << "put back";
    }
    for (const auto& one : found) {
      EXPECT_TRUE(at::equal(one.weight_KD, found.front().weight_KD));
      EXPECT_TRUE(at::equal(one.bias_K, found.front().bias_K));
    }
  }
  at::set_num_threads(before);
}

TEST(LinearProbe, TwoWorkersComeToTheBitsOfOne) {
  const auto rows = probe_rows(1, 40);
  const auto alone = fit_logistic_regression(rows.x_N5, rows.label_N, 3, 0.7);
  ProbeGang whole;
  for (std::int64_t slot = 0; slot < 4; ++slot) whole.slots.push_back(at::arange(slot, 40, 4));
  const auto one = fit_logistic_regression(rows.x_N5, rows.label_N, 3, 0.7, {}, whole);
  EXPECT_TRUE(at::allclose(one.weight_KD, alone.weight_KD, 0, 1e-7));
  const auto held = at::arange(0, 40, 5);
  const auto sweep = sweep_logistic_regression(rows.x_N5, rows.label_N, 3, 1, {}, held, whole);
  Meeting meeting;
  std::array<LinearClassifier, 2> found;
  std::array<ProbeSweep, 2> swept;
  const auto work = [&](std::size_t rank) {
    // This worker's rows, slot by slot, and where they stand among them.
    const auto own = at::cat({whole.slots[2 * rank], whole.slots[2 * rank + 1]});
    const std::int64_t first = whole.slots[2 * rank].size(0);
    ProbeGang gang{{at::arange(first), at::arange(first, own.size(0))},
                   [&](at::Tensor& sums) { meeting.sum(rank, sums); }};
    const auto x = rows.x_N5.index_select(0, own), label = rows.label_N.index_select(0, own);
    found[rank] = fit_logistic_regression(x, label, 3, 0.7, {}, gang);
    swept[rank] = sweep_logistic_regression(x, label, 3, 1, {}, (own % 5 == 0).nonzero().squeeze(1), gang);
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  for (const std::size_t rank : {0, 1}) {
    EXPECT_TRUE(at::equal(found[rank].weight_KD, one.weight_KD));
    EXPECT_TRUE(at::equal(found[rank].bias_K, one.bias_K));
    EXPECT_EQ(swept[rank].c, sweep.c);
    EXPECT_EQ(swept[rank].validation_accuracy, sweep.validation_accuracy);
    EXPECT_TRUE(at::equal(swept[rank].classifier.weight_KD, sweep.classifier.weight_KD));
  }
}

TEST(LinearProbe, SumsAreMadeInPairs) {
  const auto parts = at::tensor({1e16, 1., -1e16, 1.}, at::kDouble).unsqueeze(1);
  EXPECT_EQ(sum_in_pairs(parts).item<double>(), (1e16 + 1.) + (-1e16 + 1.));
  EXPECT_NE(sum_in_pairs(parts).item<double>(), ((1e16 + 1.) - 1e16) + 1.);  // one after another
  EXPECT_EQ(sum_in_pairs(at::ones({1, 3})).size(0), 3);
}

TEST(LinearProbe, ManyFeaturesInFloat32ReachTheSameObjective) {
  at::manual_seed(5);
  const std::int64_t count = 70000, width = 64, classes = 12;                  // more than 2^22 numbers
  const auto x = at::randn({count, width}).mul(at::linspace(0.05, 2, width));  // directions of unlike length
  const auto label = (x.matmul(at::randn({width, classes})) + 4 * at::randn({count, classes})).argmax(1);
  const auto fast = fit_logistic_regression(x, label, classes, 0.01);
  const auto exact = fit_logistic_regression(x.to(at::kDouble), label, classes, 0.01);
  const double least = logistic_objective(exact, x.to(at::kDouble), label, 0.01);
  EXPECT_LT(logistic_objective(fast, x.to(at::kDouble), label, 0.01), least * (1 + 1e-6));
  EXPECT_NEAR(accuracy(fast, x, label), accuracy(exact, x, label), 1e-3);
}

TEST(LinearProbe, HeldOutRowsCanBeNamed) {
  const auto rows = probe_rows(1, 150);
  const auto held = at::arange(100, 150);
  const ProbeSweep sweep = sweep_logistic_regression(rows.x_N5, rows.label_N, 3, 1, {}, held);
  // The same by hand: fitted on the others, judged by them, then fitted on all.
  const auto fitted =
      fit_logistic_regression(rows.x_N5.narrow(0, 0, 100), rows.label_N.narrow(0, 0, 100), 3, sweep.c);
  EXPECT_EQ(accuracy(fitted, rows.x_N5.narrow(0, 100, 50), rows.label_N.narrow(0, 100, 50)),
            sweep.validation_accuracy);
  const auto whole = fit_logistic_regression(rows.x_N5, rows.label_N, 3, sweep.c);
  EXPECT_TRUE(at::allclose(sweep.classifier.weight_KD, whole.weight_KD, 0, 1e-9));
}

TEST(LinearProbe, MeansOfClasses) {
  const LinearClassifier first{at::zeros({3, 1}, at::kDouble), at::tensor({1., 0., 0.}, at::kDouble)};
  const auto label = at::tensor({0, 0, 0, 1}, at::kLong);  // class 2 does not occur
  EXPECT_EQ(accuracy(first, at::zeros({4, 1}), label), 0.75);
  EXPECT_EQ(mean_per_class_accuracy(first, at::zeros({4, 1}), label), 0.5);
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

#include "worker/stages/train/signals/signals.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <thread>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/file.h"
#include "tests/worker/stages/train/support/tiny_job.h"
#include "worker/collective/local/local_group.h"
#include "worker/stages/train/objectives/contrastive/pair_learner.h"

namespace trireme::worker::stages::train {
namespace {

using nlohmann::json;

TEST(Auc, IsTheShareOfOrderedPairsWithTiesHalf) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::int64_t> clean(16), corrupted(16);
    for (auto& count : clean) count = random() % 4;
    for (auto& count : corrupted) count = random() % 4;
    double won = 0, pairs = 0;  // by every single pair
    for (std::size_t i = 0; i < 16; ++i)
      for (std::size_t k = 0; k < 16; ++k) {
        const auto number = static_cast<double>(clean[i] * corrupted[k]);
        pairs += number;
        won += i > k ? number : i == k ? number / 2 : 0;
      }
    EXPECT_NEAR(auc_of(clean, corrupted), won / pairs, 1e-12);
  }
  EXPECT_EQ(auc_of({0, 0, 5}, {3, 0, 0}), 1);
  EXPECT_TRUE(std::isnan(auc_of({0, 0}, {1, 2})));
  EXPECT_TRUE(std::isnan(auc_of({1, 2}, {0, 0})));
}

// Rows of the global batch: values, live flags and truth, cut into slots and given to `ranks` threads.
struct Rows {
  std::int64_t slots = 8, rows = 6;
  std::vector<std::string> names = pair_signals(/*raw=*/true, /*synthetic=*/true, /*gated=*/true);
  at::Tensor values_KN, live_N;
  std::vector<Truth> truth;

  Rows() {
    const auto n = slots * rows;
    at::manual_seed(3);
    values_KN = at::rand({static_cast<std::int64_t>(names.size()), n}, at::kDouble) * 2.4 -
                1.2;  // some beyond their ranges
    values_KN[0][3] = std::nan("");
    live_N = at::ones({n}, at::kByte);
    live_N[5] = 0;
    for (std::int64_t i = 0; i < n; ++i) truth.push_back(static_cast<Truth>(i % 3));
  }
  std::string tally(int ranks, const NamedTensors& from = {}) const {
    auto groups = collective::make_local_groups(ranks);
    std::vector<std::string> documents(static_cast<std::size_t>(ranks));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < ranks; ++rank)
      threads.emplace_back([&, rank] {
        SignalTally tally(names);
        if (!from.empty()) tally.load(from);
        std::vector<at::Tensor> values, live;
        std::vector<std::vector<Truth>> of;
        for (auto slot = rank * slots / ranks; slot < (rank + 1) * slots / ranks; ++slot) {
          values.push_back(values_KN.narrow(1, slot * rows, rows));
          live.push_back(live_N.narrow(0, slot * rows, rows).clone());
          of.emplace_back(truth.begin() + slot * rows, truth.begin() + (slot + 1) * rows);
        }
        tally.add(values, live, of, *groups[static_cast<std::size_t>(rank)]);
        documents[static_cast<std::size_t>(rank)] = tally.to_json(3);
      });
    for (auto& thread : threads) thread.join();
    for (const auto& document : documents) EXPECT_EQ(document, documents[0]);
    return documents[0];
  }
};

TEST(SignalTally, TheSameBytesForAnyNumberOfRanks) {
  const Rows rows;
  const std::string alone = rows.tally(1);
  for (const int ranks : {2, 4, 8}) EXPECT_EQ(rows.tally(ranks), alone) << ranks;
  const auto document = json::parse(alone);
  EXPECT_EQ(document.at("samples"), 46);  // one row is not live, and one value of the first signal no number
  EXPECT_EQ(document.at("gated"), true);
  ASSERT_EQ(document.at("histograms").size(), 7U);
  // The mean and the AUC of a signal from its rows.
  double sum = 0, won = 0, pairs = 0;
  std::vector<double> clean, corrupted;
  for (std::int64_t i = 0; i < 48; ++i) {
    if (i == 5) continue;
    const double value = rows.values_KN[1][i].item<double>();
    if (rows.truth[static_cast<std::size_t>(i)] == Truth::kClean) clean.push_back(value), sum += value;
    if (rows.truth[static_cast<std::size_t>(i)] == Truth::kCorrupted) corrupted.push_back(value);
  }
  for (const double a : clean)
    for (const double b : corrupted) {
      const double ahead = std::clamp(a, -1.0, 1.0) - std::clamp(b, -1.0, 1.0);
      ++pairs, won += ahead > 0 ? 1 : ahead == 0 ? 0.5 : 0;
    }
  const auto& metrics = document.at("metrics");
  EXPECT_NEAR(metrics.at("clean.similarity.caption").get<double>(), sum / static_cast<double>(clean.size()),
              1e-12);
  EXPECT_NEAR(metrics.at("auc.similarity.caption").get<double>(), won / pairs, 0.01);  // bins of 1/1024
}

TEST(SignalTally, GoesOnFromACheckpoint) {
  const Rows rows;
  auto group = collective::make_local_groups(1);
  SignalTally tally(rows.names);
  const auto add = [&](std::int64_t slot) {
    tally.add({rows.values_KN.narrow(1, slot * rows.rows, rows.rows)},
              {rows.live_N.narrow(0, slot * rows.rows, rows.rows).clone()},
              {{rows.truth.begin() + slot * rows.rows, rows.truth.begin() + (slot + 1) * rows.rows}},
              *group[0]);
  };
  add(0);
  const NamedTensors saved = tally.tensors();
  add(1);
  const std::string whole = tally.to_json(1);
  SignalTally resumed(rows.names);
  resumed.load(saved);
  std::swap(tally, resumed);
  add(1);
  EXPECT_EQ(tally.to_json(1), whole);
  tally.load({});  // a checkpoint from before the last epoch
  EXPECT_EQ(tally.samples(), 0);
  EXPECT_THROW(tally.load({{"signals.counts", at::zeros({2, 2}, at::kLong)}}), Error);
}

TEST(SignalTally, OfAnObjectiveWithoutSignals) {
  const SignalTally tally({});
  EXPECT_EQ(tally.samples(), 0);
  const auto document = json::parse(tally.to_json(0));
  EXPECT_EQ(document.at("gated"), false);
  EXPECT_TRUE(document.at("histograms").empty());
}

TEST(TruthOfNoise, IsAboutThePairNotThePicture) {
  EXPECT_EQ(truth_of_noise("none"), Truth::kClean);
  EXPECT_EQ(truth_of_noise("swapped"), Truth::kCorrupted);
  EXPECT_EQ(truth_of_noise("boilerplate"), Truth::kCorrupted);
  for (const char* other : {"tiny", "stretched", "foreign", "duplicate", "anything"})
    EXPECT_EQ(truth_of_noise(other), Truth::kUnknown);
}

class SignalsOfARun : public ::testing::Test {
 protected:
  std::string folder =
      std::filesystem::temp_directory_path() / ("trireme-signals-" + std::to_string(::getpid()));
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string signals(const TinyJob& job, const std::string& run) const {
    return io::read_file(job.output(run) + "/signals.json");
  }
};

TEST_F(SignalsOfARun, CountEverySampleOfTheLastEpochOnceAndSurviveAResume) {
  TinyJob job(folder);
  job.combine_everything();
  job.settings.concepts.sampling = jobs::ConceptSampling::kUniform;
  job.settings.epochs = 2;
  job.checkpoint_every_steps = 5;  // of 6: in the middle of the last epoch
  // Truth of the first two shards; a line that is torn, and a key that is not there.
  std::string truth;
  for (int i = 0; i < 16; ++i) {
    char line[80];
    std::snprintf(line, sizeof line, "{\"key\":\"%09d\",\"noise\":\"%s\"}\n", i,
                  i % 4 == 0 ? "swapped" : "none");
    truth += line;
  }
  io::write_file_atomic(folder + "/0.truth.jsonl", truth + "{\"key\":\"000000", false);
  io::write_file_atomic(folder + "/1.truth.jsonl", "{\"key\":\"nobody\",\"noise\":\"none\"}\n", false);
  const auto whole = job.train("whole", 1);
  ASSERT_EQ(whole.error, "");
  const auto document = json::parse(signals(job, "whole"));
  EXPECT_EQ(document.at("samples"), 48);
  EXPECT_EQ(document.at("epoch"), 1);
  const auto& first = document.at("histograms")[0];
  const auto total = [](const json& counts) {
    std::int64_t sum = 0;
    for (const auto& count : counts) sum += count.get<std::int64_t>();
    return sum;
  };
  EXPECT_EQ(total(first.at("all")), 48);
  EXPECT_EQ(total(first.at("clean")), 12);
  EXPECT_EQ(total(first.at("corrupted")), 4);
  EXPECT_TRUE(document.at("metrics").contains("auc.weight.sample"));
  // Two ranks, and resumed in the middle of the last epoch: the same bytes.
  ASSERT_EQ(job.train("pair", 2).error, "");
  EXPECT_EQ(signals(job, "pair"), signals(job, "whole"));
  ASSERT_FALSE(whole.checkpoints.empty());
  ASSERT_EQ(job.train("resumed", 2, whole.checkpoints[0]).error, "");
  EXPECT_EQ(signals(job, "resumed"), signals(job, "whole"));
}

}  // namespace
}  // namespace trireme::worker::stages::train

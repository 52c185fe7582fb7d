// The whole stage on a device that is recorded (recorded_device.h), from the loader's bytes to the model's
// file: the same rows as on the CPU, and more steps are not more waits of the host, but for the events of the
// steps themselves.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "common/telemetry/metrics.h"
#include "tests/worker/stages/train/support/tiny_job.h"
#include "tests/worker/support/recorded_autocast.h"
#include "tests/worker/support/recorded_device.h"
#include "worker/kernels/pair_tile/pair_tile.h"
#include "worker/stages/train/run/step_reporter.h"

namespace trireme::worker::stages::train {
namespace {

std::string folder_of(const std::string& name) {
  return ::testing::TempDir() + "/trireme-recorded-run/" + name;
}

struct Case {
  const char* name;
  bool labelled = false;
  std::function<void(TinyJob&)> set;
  std::size_t compared = 9;  // rows of the log, beside the CPU's
};

void learn_captions(TinyJob& job) {
  const std::string vocabulary = folder_of("vocabulary.txt");
  std::string lines = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
  for (const char* word : {"a", "red", "green", "blue", "yellow", "purple", "white", "square", "in", "the",
                           "top", "bottom", "left", "right", "on", "black", "grey"})
    lines += std::string(word) + "\n";
  io::write_file_atomic(vocabulary, lines, false);
  job.model.text.kind = jobs::TextTowerKind::kDecoder;
  job.model.text.layers = 2;
  job.model.text.positions = 16;
  job.model.text.prompt = "a";
  job.model.text.tokenizer.kind = jobs::TokenizerKind::kWordPiece;
  job.model.text.tokenizer.vocabulary = vocabulary;
  job.settings.objective = jobs::TrainObjective::kCaptioning;
}

std::vector<Case> cases() {
  return {{"everything combined", false, [](TinyJob& job) { job.combine_everything(); }},
          {"batch norms", false,
           [](TinyJob& job) {
             job.model.image.kind = jobs::ImageTowerKind::kEfficientNetLite0;
             job.model.image.width_factor = 0.25;
             job.model.image.batch_norm.policy = jobs::BatchNormPolicy::kGhost;
           },
           2},  // then last bits are other losses (whole_models_test.cpp)
          {"captions", false, learn_captions},
          {"classes, mixed", true, [](TinyJob& job) {
             job.settings.objective = jobs::TrainObjective::kClassification;
             job.settings.classification = jobs::ClassificationSpec{.mixup = 0.4, .head_steps = 2};
           }}};
}

std::map<std::string, int> counted(const std::vector<std::string>& waits) {
  std::map<std::string, int> all;
  for (const auto& one : waits) ++all[one];
  return all;
}

TEST(RecordedRun, MoreStepsAreNotMoreWaits) {
  for (const Case& of : cases()) {
    TinyJob job(folder_of("job"), of.labelled);
    of.set(job);
    const auto train = [&](const char* device, std::int64_t steps) {
      job.device = device;
      job.settings.steps = steps;
      static_cast<void>(recorded::waits().take());
      const auto outcome = job.train(std::string(device) + std::to_string(steps), 1);
      EXPECT_EQ(outcome.error, "") << of.name;
      return outcome;
    };
    train("recorded:0", 3);
    const auto few = counted(recorded::waits().take());
    const int events = recorded::waits().events;
    const auto there = train("recorded:0", 9);
    EXPECT_EQ(counted(recorded::waits().take()), few) << of.name;
    EXPECT_GE(recorded::waits().events - events, 9) << of.name;
    const auto here = train("cpu", 9);
    ASSERT_EQ(there.reports.size(), here.reports.size()) << of.name;
    for (std::size_t i = 0; i < std::min(of.compared, here.reports.size()); ++i)
      EXPECT_NEAR(there.reports[i].loss, here.reports[i].loss, 1e-3) << of.name << ", row " << i;
  }
}

// 50 steps as `spec.precision: bf16` has them: beside the CPU's own bf16, and beside float32, from which both
// are further away. Other operations stay in float32 there (recorded_autocast.h): norms, softmax, sums.
TEST(RecordedRun, FiftyStepsInBfloat16AreTheCpusWithinWhatIsAskedOfADevice) {
  TinyJob job(folder_of("bf16"));
  job.settings.steps = 50;
  job.settings.optimizer.learning_rate = 1e-3;
  const auto losses = [&](const char* device, jobs::Precision precision) {
    job.device = device;
    job.settings.precision = precision;
    const auto outcome = job.train(std::string(device) + std::to_string(static_cast<int>(precision)), 1);
    EXPECT_EQ(outcome.error, "");
    std::vector<double> all;
    for (const auto& report : outcome.reports) all.push_back(report.loss);
    return all;
  };
  const auto off = [](const std::vector<double>& a, const std::vector<double>& b) {
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      most = std::max(most, std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i])));
    return most;
  };
  const auto there = losses("recorded:0", jobs::Precision::kBf16),
             here = losses("cpu", jobs::Precision::kBf16);
  const auto whole = losses("cpu", jobs::Precision::kFloat32);
  ASSERT_EQ(there.size(), 50U);
  ASSERT_EQ(here.size(), 50U);
  EXPECT_LE(off(there, here), 2e-2);  // tests/gpu/run.py, "50 bf16 steps against the CPU's"
  EXPECT_GT(off(there, whole), 1e-5) << "there was no bfloat16";
  EXPECT_LT(there.back(), there.front()) << "nothing was learnt";
  std::cout << "bf16: " << off(there, here) << " from the CPU's, " << off(there, whole) << " and "
            << off(here, whole) << " from float32's\n";
}

// A batch's copies end in an event, which the step's stream goes on behind; its numbers' way back has one,
// too.
TEST(RecordedRun, TwoBatchesTravelAheadOfTheOneThatIsComputed) {
  TinyJob job(folder_of("job"));
  job.device = "recorded:0";
  job.settings.steps = 5;
  static_cast<void>(recorded::waits().take_points());
  EXPECT_EQ(job.train("ahead", 1).error, "");
  const std::string points = recorded::waits().take_points();
  EXPECT_EQ(points.substr(0, 4), "rrrb") << points;
  EXPECT_EQ(std::count(points.begin(), points.end(), 'b'), 5) << points;
}

// The greatest of 8192, 4096 … of which twelve square float32 matrices, as the composed loss holds them, are
// at most a sixteenth of the device's memory.
TEST(RecordedRun, TilesAreSizedToTheDevice) {
  EXPECT_EQ(kernels::largest_tile(recorded::device()), 1024);
  EXPECT_LE(1024 * 1024 * 4 * 12, recorded::kBytes / 16);
  EXPECT_GT(2048 * 2048 * 4 * 12, recorded::kBytes / 16);
}

TEST(RecordedRun, MostMemoryAndUtilizationAreMetrics) {
  telemetry::Metrics metrics("", 0);
  runtime::TaskContext context;
  context.metrics = &metrics;
  context.device = recorded::device().str();
  io::make_folders(folder_of("reports"));
  StepReporter reporter(context, io::Path(folder_of("reports")) / "log.jsonl", 0, 9, 1e6, 1e9);
  StepRow row;
  row.step = 1;
  row.live = 50;
  row.seconds = 0.25;
  reporter.add(row);  // 50 / 0.25 samples/s of 1e6 FLOPs, of 1e9 FLOP/s
  const std::string text = metrics.exposition();
  const auto value_of = [&](const std::string& name) {
    const auto at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  };
  EXPECT_EQ(value_of("trireme_device_peak_bytes"), recorded::kPeakBytes) << text;
  EXPECT_NEAR(value_of("trireme_train_mfu_ratio"), 0.2, 1e-9) << text;
}

}  // namespace
}  // namespace trireme::worker::stages::train

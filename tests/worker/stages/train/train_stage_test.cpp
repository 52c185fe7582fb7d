#include "worker/stages/train/train_stage.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "common/io/hash.h"
#include "tests/worker/stages/train/support/stopped_job.h"
#include "tests/worker/stages/train/support/tiny_job.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::stages::train {
namespace {

std::string folder_of_test() {
  return ::testing::TempDir() + "/trireme-train/" +
         ::testing::UnitTest::GetInstance()->current_test_info()->name();
}

std::string weights_hash(const TinyJob& job, const std::string& run) {
  return io::hex(io::xxh3_of_file(job.output(run) + "/model.safetensors"));
}

std::int64_t rows_of(const std::string& path) {
  std::ifstream file(path);
  std::int64_t rows = 0;
  for (std::string line; std::getline(file, line);) ++rows;
  return rows;
}

TEST(TrainStage, LearnsScenesFromScratch) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 60;
  const auto outcome = job.train("a", 1);
  ASSERT_EQ(outcome.error, "");
  ASSERT_EQ(outcome.reports.size(), 180U);
  EXPECT_GT(outcome.reports.front().loss, 2.2);
  EXPECT_LT(outcome.reports.back().loss, 2.77 / 3) << "chance is ln 16 = 2.77";
  EXPECT_EQ(outcome.done.counts.at("steps"), 180);
  EXPECT_EQ(outcome.done.counts.at("samples"), 60 * 48);
  EXPECT_EQ(rows_of(job.log("a")), 180);
  ASSERT_EQ(outcome.done.outputs.size(), 1U);
  const auto loaded = models::DualEncoder::load(outcome.done.outputs[0].path);
  EXPECT_EQ(loaded->spec().embed_dim, 16);
  EXPECT_TRUE(std::filesystem::exists(job.output("a") + "/manifest.json"));
}

TEST(TrainStage, WeightsDoNotDependOnTheNumberOfWorkers) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 3;
  job.filtered = true;
  job.settings.optimizer.gradient_clip_norm = 0.5;
  ASSERT_EQ(job.train("w1", 1).error, "");
  for (const int ranks : {2, 4}) {
    const auto run = "w" + std::to_string(ranks);
    ASSERT_EQ(job.train(run, ranks).error, "");
    EXPECT_EQ(weights_hash(job, "w1"), weights_hash(job, run));
    EXPECT_EQ(io::read_file(job.output("w1") + "/log.jsonl"), io::read_file(job.output(run) + "/log.jsonl"));
  }
  job.settings.seed = 1;
  ASSERT_EQ(job.train("other", 1).error, "");
  EXPECT_NE(weights_hash(job, "w1"), weights_hash(job, "other")) << "another seed";
}

// What is evaluated later as open_clip sees it is learnt from such pictures.
TEST(TrainStage, PicturesAreResizedAsTheModelSays) {
  TinyJob job(folder_of_test());
  job.settings.steps = 1;
  ASSERT_EQ(job.train("torch", 1).error, "");
  job.model.image.resampling = jobs::Resampling::kPillow;
  ASSERT_EQ(job.train("pillow", 1).error, "");
  EXPECT_NE(io::read_file(job.output("torch") + "/log.jsonl"),
            io::read_file(job.output("pillow") + "/log.jsonl"));
}

TEST(TrainStage, GangsThatDoNotDivideTheSlotsAreRefused) {
  TinyJob job(folder_of_test());
  const auto outcome = job.train("w3", 3);
  EXPECT_EQ(outcome.error_kind, ErrorKind::kInvalid);
  EXPECT_NE(outcome.error.find("logical_slots"), std::string::npos) << outcome.error;
}

TEST(TrainStage, ResumesAtEveryStepWithTheSameBits) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 2;
  job.filtered = true;  // 36 samples kept: the last batch of an epoch is short
  job.settings.evaluate_every = {.steps = 2, .data = "test"};
  job.checkpoint_every_steps = 1;
  job.await_checkpoints = true;  // one that is under way makes the next be skipped
  const auto whole = job.train("whole", 1);
  ASSERT_EQ(whole.error, "");
  ASSERT_GE(whole.checkpoints.size(), 4U);
  int number = 0;
  for (const auto& checkpoint : whole.checkpoints) {
    const auto run = "r" + std::to_string(number++);
    std::filesystem::create_directories(io::Path(job.log(run)).parent_path());
    std::filesystem::copy_file(job.log("whole"), job.log(run));
    const int ranks = number % 2 == 0 ? 1 : 2;
    ASSERT_EQ(job.train(run, ranks, checkpoint).error, "");
    EXPECT_EQ(weights_hash(job, "whole"), weights_hash(job, run))
        << checkpoint << ", " << ranks << " workers";
    EXPECT_EQ(io::read_file(job.output("whole") + "/log.jsonl"),
              io::read_file(job.output(run) + "/log.jsonl"));
  }
}

// Gates, heads, moments, averages, clipping, chunks, the choice of negatives and of samples.
TEST(TrainStage, EverythingCombinedHasTheSameBitsForAnyWorkersAndResumed) {
  TinyJob job(folder_of_test());
  job.combine_everything();
  job.settings.epochs = 2;
  job.settings.evaluate_every = {.steps = 3, .data = "test"};
  job.checkpoint_every_steps = 1;
  job.await_checkpoints = true;
  const auto whole = job.train("w1", 1);
  ASSERT_EQ(whole.error, "");
  const auto log = io::read_file(job.output("w1") + "/log.jsonl");
  for (const char* part :
       {"image_text", "image_caption", "concepts.objects", "h_text_caption", "mean_sample"})
    EXPECT_NE(log.find(part), std::string::npos) << part;
  EXPECT_GT(whole.done.counts.at("concepts.attributes.beyond_vocabulary"), 0);
  for (const int ranks : {2, 4}) {
    const auto run = "w" + std::to_string(ranks);
    ASSERT_EQ(job.train(run, ranks).error, "");
    EXPECT_EQ(weights_hash(job, "w1"), weights_hash(job, run));
    EXPECT_EQ(log, io::read_file(job.output(run) + "/log.jsonl"));
  }
  ASSERT_GE(whole.checkpoints.size(), 3U);
  for (std::size_t i = 0; i < whole.checkpoints.size(); ++i) {
    const auto run = "r" + std::to_string(i);
    std::filesystem::create_directories(io::Path(job.log(run)).parent_path());
    std::filesystem::copy_file(job.log("w1"), job.log(run));
    ASSERT_EQ(job.train(run, i % 2 == 0 ? 2 : 1, whole.checkpoints[i]).error, "");
    EXPECT_EQ(weights_hash(job, "w1"), weights_hash(job, run)) << whole.checkpoints[i];
    EXPECT_EQ(log, io::read_file(job.output(run) + "/log.jsonl"));
  }
  // ALIP's code starts H again; that is an option and no accident.
  job.settings.loss.gates.reset_h_on_resume = true;
  ASSERT_EQ(job.train("reset", 1, whole.checkpoints[0]).error, "");
  EXPECT_NE(weights_hash(job, "w1"), weights_hash(job, "reset"));
}

// Of the step that is kept, not of the last one: as if training had ended there.
TEST(TrainStage, TheHeadsAreThoseOfTheBestStep) {
  TinyJob job(folder_of_test());
  job.settings.concepts.heads = {
      {.name = "objects", .field = "objects", .vocabulary = {"night", "fog", "square"}, .top_k = 0}};
  job.settings.steps = 12;
  job.settings.optimizer.learning_rate = 0.03;
  job.settings.optimizer.schedule = jobs::RateSchedule::kConstant;
  job.settings.evaluate_every = {.steps = 1, .data = "test"};
  const auto whole = job.train("whole", 1);
  ASSERT_EQ(whole.error, "");
  const auto best = nlohmann::json::parse(whole.done.summary).at("best_step").get<std::int64_t>();
  ASSERT_GT(best, 0);
  ASSERT_LT(best, 12) << "or this says nothing";
  job.settings.steps = best;
  job.settings.evaluate_every = {};
  ASSERT_EQ(job.train("short", 1).error, "");
  EXPECT_EQ(weights_hash(job, "whole"), weights_hash(job, "short"));
  for (const char* file : {"/concepts.safetensors", "/concepts.json"})
    EXPECT_EQ(io::read_file(job.output("whole") + file), io::read_file(job.output("short") + file)) << file;
}

TEST(TrainStage, CombinedLossesLearn) {
  TinyJob job(folder_of_test());
  job.combine_everything();
  job.settings.epochs = 16;
  job.settings.evaluate_every = {.steps = 48, .data = "test"};
  const auto outcome = job.train("a", 2);
  ASSERT_EQ(outcome.error, "");
  const auto log = io::read_file(job.log("a"));
  const auto last = log.rfind("concepts.objects");
  EXPECT_LT(std::stod(log.substr(last + 18)), 0.85) << "0.56 is the entropy of the targets, ln 3 is chance";
  const auto recall = log.rfind("\"mean_recall@1\":");
  ASSERT_NE(recall, std::string::npos);
  EXPECT_GT(std::stod(log.substr(recall + 16)), 5.0 / 48) << "five times chance";
}

TEST(TrainStage, SigmaIsLearntAndBecomesTheModelsTemperature) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 4;
  job.settings.loss.temperature.parameter = jobs::TemperatureParameter::kSigma;
  job.settings.loss.label_smoothing = 0.1;
  const auto outcome = job.train("w1", 1);
  ASSERT_EQ(outcome.error, "");
  EXPECT_NEAR(outcome.reports.front().logit_scale, 0, 1e-6) << "sigma 1";
  EXPECT_GT(outcome.reports.back().logit_scale, 0);
  const auto loaded = models::DualEncoder::load(outcome.done.outputs[0].path);
  EXPECT_GT(loaded->logit_scale().item<double>(), outcome.reports.back().logit_scale * 0.99);
  ASSERT_EQ(job.train("w2", 2).error, "");
  EXPECT_EQ(weights_hash(job, "w1"), weights_hash(job, "w2"));
  job.settings.loss.temperature = {
      .parameter = jobs::TemperatureParameter::kSigma, .learnt = false, .initial = 1.0 / 32};
  const auto fixed = job.train("fixed", 1);
  EXPECT_NEAR(fixed.reports.back().logit_scale, std::log(32.0), 1e-6);
}

TEST(TrainStage, TheAverageIsWhatIsLeft) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 3;
  const auto plain = job.train("plain", 1);
  job.settings.average = {.decay = 0.999, .warm_up = false};
  const auto averaged = job.train("averaged", 1);
  ASSERT_EQ(averaged.error, "");
  EXPECT_EQ(plain.reports.back().loss, averaged.reports.back().loss) << "training is not disturbed";
  const checkpoint::SafetensorsFile first(averaged.checkpoints[0] + "/average.safetensors"),
      last(averaged.checkpoints[0] + "/model.safetensors"),
      result(job.output("averaged") + "/model.safetensors");
  EXPECT_TRUE(at::equal(result.load("visual.proj"), first.load("visual.proj")));
  EXPECT_FALSE(at::equal(result.load("visual.proj"), last.load("visual.proj")));
}

TEST(TrainStage, StepsThatAreNotFiniteAreSkippedOrEndTheStage) {
  TinyJob job(folder_of_test());
  job.model.image.frozen = job.model.text.frozen = true;
  job.stored_features = job.broken_feature = true;
  job.settings.standardize_features = false;
  job.settings.epochs = 4;
  const auto skipped = job.train("skip", 2);
  ASSERT_EQ(skipped.error, "");
  EXPECT_EQ(skipped.done.counts.at("skipped_steps"), 4) << "one batch of each epoch";
  EXPECT_NE(io::read_file(job.log("skip")).find("\"non_finite\":true"), std::string::npos);
  job.settings.guard.on_non_finite = jobs::OnNonFinite::kStop;
  const auto stopped = job.train("stop", 2);
  EXPECT_EQ(stopped.error_kind, ErrorKind::kInvalid);
  EXPECT_NE(stopped.error.find("was not finite"), std::string::npos) << stopped.error;
}

TEST(TrainStage, RollsBackToTheCommittedCheckpoint) {
  TinyJob job(folder_of_test());
  job.model.image.frozen = job.model.text.frozen = true;
  job.stored_features = job.broken_feature = job.commit = true;
  job.settings.standardize_features = false;
  job.settings.epochs = 3;
  job.settings.seed = 2;  // the bad sample is not in the first step
  job.settings.guard = {.on_non_finite = jobs::OnNonFinite::kRollback, .most_rollbacks = 3};
  job.checkpoint_every_steps = 1;
  job.await_checkpoints = true;
  const auto outcome = job.train("a", 2);
  ASSERT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.done.counts.at("rollbacks"), 3);
  EXPECT_NE(io::read_file(job.log("a")).find("\"rolled_back_to\":"), std::string::npos);
  EXPECT_EQ(rows_of(job.log("a")), 9);
  // A start that has just taken up a checkpoint goes back to its files, all others to what each rank has
  // kept.
  ASSERT_EQ(job.train("r", 2, outcome.checkpoints.at(1)).error, "");
  EXPECT_EQ(weights_hash(job, "a"), weights_hash(job, "r"));
  job.lose_files = true;
  const auto from_memory = job.train("m", 2);
  ASSERT_EQ(from_memory.error, "");
  EXPECT_EQ(from_memory.done.counts.at("rollbacks"), 3);
  EXPECT_EQ(weights_hash(job, "a"), weights_hash(job, "m"));
  job.lose_files = false;
  job.settings.guard.most_rollbacks = 1;
  const auto limited = job.train("b", 2);
  EXPECT_EQ(limited.error_kind, ErrorKind::kInvalid);
  EXPECT_NE(limited.error.find("after 1 returns"), std::string::npos) << limited.error;
  job.checkpoint_every_steps = 0;
  const auto without = job.train("c", 1);
  EXPECT_NE(without.error.find("no checkpoint has been committed"), std::string::npos) << without.error;
}

TEST(TrainStage, WhatTheLossNeedsMustBeInTheData) {
  TinyJob job(folder_of_test());
  job.settings.loss.texts = jobs::LossTexts::kBoth;
  job.settings.synthetic_caption = "told";
  auto outcome = job.train("a", 1);
  EXPECT_EQ(outcome.error_kind, ErrorKind::kInvalid);
  EXPECT_NE(outcome.error.find("'told'"), std::string::npos) << outcome.error;
  job.settings.loss.texts = jobs::LossTexts::kRaw;
  job.settings.concepts.heads = {{.name = "h", .field = "objects", .vocabulary = {"x", "y"}, .top_k = 0}};
  outcome = job.train("b", 1);
  EXPECT_NE(outcome.error.find("no concept of head 'h'"), std::string::npos) << outcome.error;
  job.settings.concepts.heads.clear();
  job.settings.loss.positives = jobs::LossPositives::kLabel;
  outcome = job.train("c", 1);
  EXPECT_NE(outcome.error.find("no labels"), std::string::npos) << outcome.error;
  job.settings.loss.positives = jobs::LossPositives::kPair;
  job.settings.optimizer.groups = {{.names = "head.*"}};
  outcome = job.train("d", 1);
  EXPECT_NE(outcome.error.find("head.*"), std::string::npos) << outcome.error;
}

TEST(TrainStage, StopsAfterACheckpointWhenAskedTo) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 4;
  job.commit = true;
  job.commit_looks = 20;
  ASSERT_EQ(job.train("whole", 2).error, "");
  const auto stopped = stop_with_checkpoint(job, "part");
  ASSERT_EQ(stopped.checkpoints.size(), 1U);
  EXPECT_LE(stopped.reports.size(), 6U);
  ASSERT_EQ(job.train("part", 4, stopped.checkpoints[0]).error, "");
  EXPECT_EQ(weights_hash(job, "whole"), weights_hash(job, "part"));
  EXPECT_EQ(rows_of(job.log("part")), 12);
}

// The folder of the checkpoints is a file: nothing can be written, and that is what is said.
TEST(TrainStage, AStopWhoseCheckpointCannotBeWrittenDoesNotAnnounceOne) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 4;
  io::write_file_atomic(folder_of_test() + "/a/ckpt", "", false);
  const auto stopped = train_until_asked_to_stop(job, "a");
  EXPECT_EQ(stopped.error_kind, ErrorKind::kCancelled) << stopped.error;
  EXPECT_NE(stopped.error.find("could not be written: there is none"), std::string::npos) << stopped.error;
}

TEST(TrainStage, CancelEndsWithinASecond) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 100000;
  std::chrono::steady_clock::time_point asked;
  const auto outcome = job.train("a", 2, "", [&](std::int64_t step, runtime::StopRequest& stop) {
    if (step != 3) return;
    asked = std::chrono::steady_clock::now();
    stop.stop();
  });
  EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(1));
  EXPECT_EQ(outcome.error_kind, ErrorKind::kCancelled);
}

TEST(TrainStage, ACheckpointOfOtherDataIsRefused) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 1;
  const auto first = job.train("a", 1);
  ASSERT_EQ(first.checkpoints.size(), 1U);
  job.filtered = true;
  const auto outcome = job.train("b", 1, first.checkpoints[0]);
  EXPECT_EQ(outcome.error_kind, ErrorKind::kDamaged);
  EXPECT_NE(outcome.error.find("other data"), std::string::npos) << outcome.error;
}

TEST(TrainStage, KeepsTheBestCheckpointsWeights) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 6;
  job.settings.optimizer.schedule = jobs::RateSchedule::kConstant;
  job.settings.optimizer.learning_rate = 0.02;  // rough on purpose
  job.settings.evaluate_every = {.steps = 1, .data = "test"};
  const auto outcome = job.train("a", 2);
  ASSERT_EQ(outcome.error, "");
  EXPECT_NE(outcome.reports.front().evaluation.find("mean_recall@1"), std::string::npos);
  EXPECT_NE(outcome.done.summary.find("best_step"), std::string::npos);
  // The result is one of the checkpoints marked best, not simply the last weights.
  const auto best = outcome.done.summary.substr(outcome.done.summary.find("\"best_step\":") + 12);
  const auto folder = folder_of_test() + "/a/ckpt/.tmp-" + best.substr(0, best.find(',')) + "-1";
  const checkpoint::SafetensorsFile saved(folder + "/model.safetensors"),
      result(job.output("a") + "/model.safetensors");
  for (const auto& name : saved.names()) EXPECT_TRUE(at::equal(saved.load(name), result.load(name))) << name;
}

TEST(TrainStage, TrainsProjectionsOnStoredFeatures) {
  TinyJob job(folder_of_test());
  job.model.image.frozen = job.model.text.frozen = true;
  job.stored_features = true;
  job.settings.epochs = 60;
  job.settings.feature_dropout = 0.3;
  job.settings.optimizer.learning_rate = 1e-2;
  const auto alone = job.train("w1", 1);
  ASSERT_EQ(alone.error, "");
  EXPECT_LT(alone.reports.back().loss, 0.6 * alone.reports.front().loss);
  ASSERT_EQ(job.train("w2", 2).error, "");
  EXPECT_EQ(weights_hash(job, "w1"), weights_hash(job, "w2"));
  const checkpoint::SafetensorsFile result(job.output("w1") + "/model.safetensors");
  EXPECT_NEAR(result.load("image_mean").mean().item<double>(), 3, 0.3);
  EXPECT_NEAR(result.load("image_inverse_std").mean().item<double>(), 0.5, 0.06);
}

TEST(TrainStage, RestartModeTrainsToo) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 2;
  job.settings.deterministic = jobs::Determinism::kRestart;
  ASSERT_EQ(job.train("a", 2).error, "");
  ASSERT_EQ(job.train("b", 2).error, "");
  EXPECT_EQ(weights_hash(job, "a"), weights_hash(job, "b"));
}

}  // namespace
}  // namespace trireme::worker::stages::train

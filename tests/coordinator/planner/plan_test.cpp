#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/file.h"
#include "coordinator/planner/plan_text.h"
#include "tests/coordinator/planner/fake_results.h"

namespace trireme::coordinator::planner {
namespace {
using nlohmann::json;
namespace fs = std::filesystem;

std::string example(const std::string& name) {
  std::ostringstream text;
  text << std::ifstream(std::string(TRIREME_SOURCE_DIR) + "/jobs/examples/" + name).rdbuf();
  return text.str();
}

class PlanTest : public ::testing::Test {
 protected:
  ~PlanTest() override { fs::remove_all(root_); }

  // What a worker leaves behind.
  static void leave_output(const jobs::Task& task, jobs::TaskDone done) {
    const std::string path = task.output + ".bin";
    io::write_file_atomic(path, task.address, false);
    const std::string hash = io::hex(io::xxh3_of_file(path));
    json receipt = {
        {"format", "trireme-receipt"},
        {"version", 2},
        {"address", task.address},
        {"kind", jobs::name_of(task.kind)},
        {"outputs", {{{"name", ""}, {"path", fs::path(path).filename()}, {"bytes", 32}, {"xxh3", hash}}}},
        {"counts", done.counts},
        {"summary", json::parse(done.summary)}};
    receipt["xxh3"] = io::hex(io::xxh3_64(receipt.dump()));
    io::write_file_atomic(task.output + ".receipt.json", receipt.dump() + "\n", false);
  }

  jobs::JobSpec job(const std::string& name, std::vector<std::string> overrides = {}) {
    overrides.push_back("spec.output=" + root_.string());
    const auto result = jobs::read_job(example(name), overrides);
    for (const auto& fault : result.faults) ADD_FAILURE() << fault.pointer << " " << fault.detail;
    return result.job;
  }

  // Runs everything whose stage is not left out.
  static void run(const jobs::JobSpec& job, const std::string& but = "") {
    TaskGraph graph(job, {}, "job");
    auto ready = graph.start();
    while (!ready.empty()) {
      const TaskRef ref = ready.back();
      ready.pop_back();
      const jobs::Task task = graph.make_task(ref);
      if (task.stage == but) continue;
      jobs::TaskDone done = fake_result(task, 64);
      if (task.kind == jobs::TaskKind::kFilter) {
        done.counts["kept"] = task.count / 2;
        done.counts["dropped"] = task.count - task.count / 2;
      }
      leave_output(task, done);
      for (const auto& next : graph.complete(ref, done)) ready.push_back(next);
    }
  }

  fs::path root_ = fs::temp_directory_path() / ("trireme-plan-" + std::to_string(::getpid()));
};

const PlannedStage& stage_of(const Plan& plan, const std::string& name) {
  for (const auto& stage : plan.stages)
    if (stage.name == name) return stage;
  throw Error(ErrorKind::kNotFound, name);
}

TEST_F(PlanTest, TinyBeforeAnythingRan) {
  const Plan plan = make_plan(job("tiny.json"), {});
  EXPECT_EQ(stage_of(plan, "train").steps, 192);
  EXPECT_EQ(stage_of(plan, "synthesize:train/0").tasks, 64);
  EXPECT_EQ(stage_of(plan, "synthesize:train/0").reused, 0);
  EXPECT_EQ(stage_of(plan, "evaluate").shape, "map + merge");
  EXPECT_FALSE(stage_of(plan, "evaluate").tasks_final);
  EXPECT_GT(plan.disk_bytes, 0);
  EXPECT_FALSE(fs::exists(root_)) << "a plan writes nothing";
  const std::string text = plan_text(plan);
  for (const char* words : {"192", "about 4096", "gang", "reused from store 0 of"})
    EXPECT_NE(text.find(words), std::string::npos) << words << "\n" << text;
  EXPECT_EQ(json::parse(plan_json(plan)).at("tasks"), plan.tasks);
}

TEST_F(PlanTest, WhatIsInTheStoreIsCounted) {
  const jobs::JobSpec tiny = job("tiny.json");
  run(tiny, "train");
  Plan plan = make_plan(tiny, {});
  EXPECT_EQ(stage_of(plan, "inspect:train").reused, 64);
  EXPECT_EQ(stage_of(plan, "train").reused, 0);
  run(tiny);
  plan = make_plan(tiny, {});
  EXPECT_EQ(plan.reused, plan.tasks);
  const Plan other = make_plan(job("tiny.json", {"spec.stages.train.seed=5"}), {});
  EXPECT_EQ(stage_of(other, "inspect:train").reused, 64);
  EXPECT_EQ(stage_of(other, "train").reused, 0);
  EXPECT_EQ(stage_of(other, "evaluate").reused, 0);
}

TEST_F(PlanTest, StepsFollowTheFilter) {
  const jobs::JobSpec demo = job("demo.json");
  EXPECT_EQ(stage_of(make_plan(demo, {}), "train").steps, -1);
  run(demo, "train");
  const auto& settings = std::get<jobs::TrainSettings>(demo.spec.stages[2].settings);
  EXPECT_EQ(stage_of(make_plan(demo, {}), "train").steps,
            16 * 64 / 2 / settings.global_batch * settings.epochs);
}

TEST_F(PlanTest, EveryExampleHasAPlan) {
  for (const char* name : {"tiny.json", "demo.json", "curate.json", "flickr.json", "cifar10.json"}) {
    ListedJob listed;
    for (const char* data : {"train", "test"}) listed.shards[data] = fake_shards(data, 2);
    const jobs::JobSpec spec = job(name);
    if (spec.spec.data.at("train").sources[0].synthetic) listed = {};
    const Plan plan = make_plan(spec, listed);
    EXPECT_GE(plan.stages.size(), 5U) << name;
    EXPECT_FALSE(plan_text(plan).empty());
  }
}

TEST_F(PlanTest, CaptionsAndCheckpointsTakeRoom) {
  const Plan tiny = make_plan(job("tiny.json"), {}),
             fewer = make_plan(job("tiny.json", {"spec.checkpoint.keep_last=2"}), {});
  EXPECT_GT(tiny.checkpoint_bytes, 1e5);
  EXPECT_NEAR(tiny.checkpoint_bytes / fewer.checkpoint_bytes, 4.0 / 3, 1e-9);
  EXPECT_NE(plan_text(tiny).find("checkpoints about"), std::string::npos);
  EXPECT_EQ(json::parse(plan_json(tiny)).at("checkpoint_bytes"), tiny.checkpoint_bytes);
  const std::string captions =
      R"({"name": "write", "spec": {"output": "/out", "data": {"d": {"synthetic": {"samples": 1000, "shards": 1}}},
      "models": {"blip": {"init_from": "/w", "image": {"kind": "vit"}, "text": {"kind": "decoder", "tokenizer": {"kind": "wordpiece", "vocabulary": "/v"}}}},
      "stages": [{"name": "look", "kind": "filter", "data": ["d"]}, {"name": "write", "kind": "caption", "data": ["d"], "model": "blip"}]}})";
  jobs::JobSpec spec = jobs::read_job(captions).job;
  const double both = make_plan(spec, {}).disk_bytes;
  spec.spec.stages.pop_back();
  EXPECT_GT(both - make_plan(spec, {}).disk_bytes, 1000 * 100);
}

}  // namespace
}  // namespace trireme::coordinator::planner

#include "coordinator/sweep/sweep_spec.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include <unistd.h>
#include <nlohmann/json.hpp>

namespace trireme::coordinator::sweep {
namespace {

using nlohmann::json;

class SweepSpecTest : public testing::Test {
 protected:
  io::Path folder = std::filesystem::temp_directory_path() / ("trireme-sweep-" + std::to_string(::getpid()));
  void SetUp() override {
    std::filesystem::remove_all(folder);
    io::write_file_atomic(folder / "job.json",
                          io::read_file(io::Path(TRIREME_SOURCE_DIR) / "jobs/examples/tiny.json"), false);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  json document() const {
    return {{"apiVersion", "trireme/v1"},
            {"kind", "Sweep"},
            {"name", "beta"},
            {"output", (folder / "out").string()},
            {"base", "job.json"},
            {"arms",
             {{"plain", json::object()}, {"hard", {{"spec.stages.train.loss.hard_negatives.beta", 0.5}}}}},
            {"grid", {{"spec.data.train.synthetic.swapped", {0, 0.3}}}},
            {"seeds", {1, 2, 3}},
            {"baseline", "plain"}};
  }
  ReadSweep read(const json& given, const std::vector<std::string>& sets = {}) const {
    return read_sweep(given.dump(), folder, sets);
  }
  std::string faults(const json& given) const {
    std::string text;
    for (const auto& fault : read(given).faults)
      text += fault.pointer + ": " + fault.detail + " (" + fault.hint + ")\n";
    return text;
  }
};

TEST_F(SweepSpecTest, ArmsTimesGridTimesSeeds) {
  const auto result = read(document());
  ASSERT_TRUE(result.faults.empty()) << faults(document());
  const Sweep& sweep = result.sweep;
  ASSERT_EQ(sweep.rows.size(), 4U);
  ASSERT_EQ(sweep.jobs.size(), 12U);
  EXPECT_EQ(sweep.axes[0].label, "swapped");
  EXPECT_TRUE(sweep.axes[0].numbers);
  std::set<std::string> keys, names;
  for (const auto& job : sweep.jobs) {
    keys.insert(job.key);
    names.insert(job.job.spec.output);
    const auto& row = sweep.rows[job.row];
    const auto& train = std::get<jobs::TrainSettings>(job.job.spec.stages[0].settings);
    EXPECT_EQ(train.seed, job.seed);
    EXPECT_EQ(train.loss.hard_negatives.beta, row.arm == "hard" ? 0.5 : 0.0);
    EXPECT_EQ(job.job.spec.data.at("train").sources[0].synthetic->swapped, row.numbers[0]);
    EXPECT_EQ(job.job.spec.store, (folder / "out/store").string());  // shared
    EXPECT_TRUE(jobs::read_job(jobs::effective_json(job.job)).ok());
  }
  EXPECT_EQ(keys.size(), 12U);
  EXPECT_EQ(names.size(), 12U);
  // The keys are those of a later reading, and not of another specification.
  const auto again = read(document()).sweep;
  for (std::size_t i = 0; i < sweep.jobs.size(); ++i) EXPECT_EQ(again.jobs[i].key, sweep.jobs[i].key);
  const auto longer = read(document(), {"spec.stages.train.epochs=9"}).sweep;
  for (std::size_t i = 0; i < sweep.jobs.size(); ++i) EXPECT_NE(longer.jobs[i].key, sweep.jobs[i].key);
}

TEST_F(SweepSpecTest, TheBaseMayStandInTheFileAndSeedsMayGoElsewhere) {
  json given = document();
  given["base"] = json::parse(io::read_file(folder / "job.json"));
  given["seed_paths"] = {"spec.stages.train.seed", "spec.data.train.synthetic.seed"};
  given.erase("grid");
  const auto result = read(given);
  ASSERT_TRUE(result.faults.empty()) << faults(given);
  for (const auto& job : result.sweep.jobs)
    EXPECT_EQ(job.job.spec.data.at("train").sources[0].synthetic->seed, job.seed);
}

TEST_F(SweepSpecTest, LabelsTellAxesApart) {
  json given = document();
  given["grid"] = {{"spec.data.train.synthetic.seed", {1, 2}},
                   {"spec.data.test.synthetic.seed", {5, 6}},
                   {"spec.stages.train.loss.kind", {"softmax"}}};
  const auto result = read(given);
  ASSERT_TRUE(result.faults.empty()) << faults(given);
  std::set<std::string> labels;
  for (const auto& axis : result.sweep.axes) labels.insert(axis.label);
  EXPECT_EQ(labels, (std::set<std::string>{"train.synthetic.seed", "test.synthetic.seed", "kind"}));
  EXPECT_NE(result.sweep.rows[0].label().find("softmax"), std::string::npos);
}

TEST_F(SweepSpecTest, AllFaultsAtOnceWithPointersAndNearestNames) {
  json given = document();
  given["sedes"] = {1};
  given["seeds"] = {1, -2, 1};
  given["arms"]["hard"] = 3;
  given["grid"]["name"] = {"a"};
  given["grid"]["spec.task_samples"] = json::array();
  given["baseline"] = "plian";
  const std::string text = faults(given);
  for (const char* what :
       {"/sedes:", "did you mean \"seeds\"?", "/seeds/1: a seed is 0 or more",
        "/seeds/2: the seed is there twice", "/arms/hard: expected",
        "/grid/name: \"name\" is no path of a job", "/grid/spec.task_samples: the list is empty",
        "/baseline: there is no arm", "did you mean \"plain\"?"})
    EXPECT_NE(text.find(what), std::string::npos) << what << "\n" << text;
}

TEST_F(SweepSpecTest, FaultsOfRunsStandAtTheSettingThatCausesThem) {
  json given = document();
  given["arms"]["hard"] = {{"spec.stages.train.loss.hard_negatives.betta", 0.5}};
  given["grid"] = {{"spec.stages.trian.epochs", {1}}, {"spec.task_samples", {64, -1}}};
  const std::string text = faults(given);
  EXPECT_NE(text.find("/arms/hard/spec.stages.train.loss.hard_negatives.betta: "), std::string::npos) << text;
  EXPECT_NE(text.find("beta"), std::string::npos) << text;
  EXPECT_NE(text.find("/grid/spec.stages.trian.epochs/0: "), std::string::npos) << text;
  EXPECT_NE(text.find("did you mean \"train\"?"), std::string::npos) << text;
  EXPECT_NE(text.find("/grid/spec.task_samples/1: "), std::string::npos) << text;
  // Each once, however many runs have it.
  EXPECT_EQ(text.find("/grid/spec.task_samples/1: "), text.rfind("/grid/spec.task_samples/1: ")) << text;
}

TEST_F(SweepSpecTest, FaultsOfTheBaseStandAtTheBase) {
  json given = document();
  json base = json::parse(io::read_file(folder / "job.json"));
  base["spec"]["stages"][0]["epocs"] = 3;
  given["base"] = base;
  const std::string text = faults(given);
  EXPECT_NE(text.find("/base: /spec/stages/0/epocs of the job: "), std::string::npos) << text;
  given["base"] = "nowhere.json";
  EXPECT_NE(faults(given).find("/base: "), std::string::npos);
  given["base"] = 7;
  EXPECT_NE(faults(given).find("/base: expected the path of a job file"), std::string::npos);
  given.erase("base");
  EXPECT_NE(faults(given).find("base"), std::string::npos);
}

TEST_F(SweepSpecTest, ValuesThatAreSetTwiceAreRefused) {
  json given = document();
  given["grid"]["spec.stages.train.seed"] = {1, 2};
  given["grid"]["spec.stages.train.loss.hard_negatives.beta"] = {0.1};
  given["grid"]["spec.data.train.synthetic.swapped"] = {0.1, 0.1};
  const std::string text = faults(given);
  EXPECT_NE(text.find("the value is there twice"), std::string::npos) << text;
  given["grid"]["spec.data.train.synthetic.swapped"] = {0.1};
  const std::string more = faults(given);
  EXPECT_NE(more.find("/grid/spec.stages.train.seed: the seeds set this value"), std::string::npos) << more;
  EXPECT_NE(more.find("/arms/hard/spec.stages.train.loss.hard_negatives.beta: "), std::string::npos) << more;
}

TEST_F(SweepSpecTest, MetricsNameAStage) {
  json given = document();
  given["metrics"] = {"evalute.acc1", "acc1"};
  given["main_metric"] = "evaluate.";
  const std::string text = faults(given);
  EXPECT_NE(text.find("/metrics/0: there is no stage \"evalute\" (did you mean \"evaluate\"?)"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("/metrics/1: \"acc1\" is no metric"), std::string::npos) << text;
  EXPECT_NE(text.find("/main_metric: "), std::string::npos) << text;
}

TEST_F(SweepSpecTest, ExamplesAreSound) {
  int found = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(io::Path(TRIREME_SOURCE_DIR) / "jobs/examples")) {
    if (!entry.path().filename().string().starts_with("sweep-")) continue;
    ++found;
    const auto result = read_sweep(io::read_file(entry.path()), entry.path().parent_path());
    for (const auto& fault : result.faults)
      ADD_FAILURE() << entry.path() << fault.pointer << ": " << fault.detail << " " << fault.hint;
    EXPECT_EQ(result.sweep.name, entry.path().stem().string());
  }
  EXPECT_GE(found, 3);
}

TEST_F(SweepSpecTest, TooManyRunsAndBrokenTextAreRefused) {
  json given = document();
  given["grid"]["spec.task_samples"] = json::array();
  for (int i = 1; i <= 200; ++i) given["grid"]["spec.task_samples"].push_back(i);
  EXPECT_NE(faults(given).find("2400 runs (at most 1000"), std::string::npos) << faults(given);
  EXPECT_FALSE(read_sweep("{\"kind\": \"Sweep\",", folder).faults.empty());
  EXPECT_FALSE(read_sweep("[]", folder).faults.empty());
  EXPECT_FALSE(read_sweep("{\"name\": \"a\", \"name\": \"b\"}", folder).faults.empty());
}

}  // namespace
}  // namespace trireme::coordinator::sweep

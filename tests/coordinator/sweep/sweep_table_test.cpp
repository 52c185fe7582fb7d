#include "coordinator/sweep/sweep_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include <unistd.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "coordinator/sweep/shot_curves.h"
#include "coordinator/sweep/sweep_document.h"
#include "coordinator/sweep/sweep_page.h"

namespace trireme::coordinator::sweep {
namespace {

using nlohmann::json;

// Two arms at two points, two seeds; values are arm + 10 * point + seed.
class SweepTableTest : public testing::Test {
 protected:
  Sweep sweep;
  std::vector<RunResult> results;
  Provenance made;

  void SetUp() override {
    sweep.name = "noise";
    sweep.arms = {{"plain", {}}, {"gates, <all>", {}}};
    sweep.axes = {{"spec.x.swapped", "swapped", {}, true}};
    sweep.axes[0].values = {{"", "0", ""}, {"", "0.3", ""}};
    sweep.seeds = {1, 2};
    sweep.baseline = "plain";
    for (const char* point : {"0", "0.3"})
      for (const auto& arm : sweep.arms) sweep.rows.push_back({arm.name, {point}, {std::stod(point)}});
    for (std::size_t row = 0; row < 4; ++row)
      for (const std::int64_t seed : sweep.seeds) {
        SweepJob job;
        job.row = row;
        job.seed = seed;
        job.name = "r" + std::to_string(row) + "-s" + std::to_string(seed);
        job.key = "key-" + job.name;
        sweep.jobs.push_back(job);
        RunResult result;
        result.state = "SUCCEEDED";
        result.commit = "abc";
        result.tasks_done = 5;
        result.tasks_reused = 2;
        const double value =
            static_cast<double>(row % 2) + 10 * static_cast<double>(row / 2) + static_cast<double>(seed);
        result.metrics = {{"train.auc", 0.5}, {"evaluate.mean_recall@1", value}};
        results.push_back(result);
      }
    made.version = "0.1.0";
    made.commit = "abc";
    made.host = "h";
    made.cpu = "c";
    made.workers = 2;
    made.wall_seconds = 75;
    made.cores = 2;
  }
};

TEST_F(SweepTableTest, MeanSpreadAndTheComparisonWithTheBaseline) {
  const Table table = make_table(sweep, results);
  EXPECT_EQ(table.main_metric, "evaluate.mean_recall@1");
  ASSERT_EQ(table.metrics, (std::vector<std::string>{"evaluate.mean_recall@1", "train.auc"}));
  ASSERT_EQ(table.rows.size(), 4U);
  EXPECT_DOUBLE_EQ(table.rows[0].metrics[0].mean, 1.5);
  EXPECT_DOUBLE_EQ(table.rows[3].metrics[0].mean, 12.5);
  EXPECT_DOUBLE_EQ(table.rows[0].metrics[0].spread, std::sqrt(0.5));
  EXPECT_EQ(table.rows[0].against_baseline.summary.n, 0);
  EXPECT_DOUBLE_EQ(table.rows[1].against_baseline.summary.mean, 1);
  EXPECT_DOUBLE_EQ(table.rows[3].against_baseline.summary.spread, 0);
  EXPECT_EQ(table.rows[3].against_baseline.wins, 2);
  EXPECT_TRUE(table.remarks.empty());
}

TEST_F(SweepTableTest, FewShotCurvesAreDrawnPerRow) {
  EXPECT_EQ(shot_curves(make_table(sweep, results)), "");
  for (auto& result : results)
    for (const auto& [name, value] : {std::pair{"few.zero_shot_acc1", 0.3},
                                      {"few.probe_acc1@1", 0.2},
                                      {"few.probe_acc1@16", 0.5},
                                      {"few.prompt_ball_acc1@1", 0.35},
                                      {"few.prompt_ball_acc1@16", 0.5},
                                      {"evaluate.acc1@x", 0.1}})
      result.metrics.emplace_back(name, value + 0.01 * static_cast<double>(&result - results.data()));
  const std::string curves = shot_curves(make_table(sweep, results));
  const auto count = [&](const std::string& what) {
    std::size_t n = 0;
    for (auto at = curves.find(what); at != std::string::npos; at = curves.find(what, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(count("<svg"), 4U);  // one per row
  for (const char* line : {"probe", "prompt_ball", "zero_shot"}) EXPECT_GE(count(line), 4U) << line;
  EXPECT_EQ(count("nan"), 0U);
  const std::string page = sweep_page(sweep, results, make_table(sweep, results), made);
  EXPECT_NE(page.find("few: gates, &lt;all&gt;, 0.3"), std::string::npos) << "titles are escaped";
}

TEST_F(SweepTableTest, AFailedRunIsInTheTableWithItsReason) {
  results[7] = {};
  results[7].state = "FAILED";
  results[7].cause = "worker 2 <was> lost";
  const Table table = make_table(sweep, results);
  EXPECT_EQ(table.rows[3].failed, 1);
  EXPECT_EQ(table.rows[3].metrics[0].n, 1);
  EXPECT_TRUE(std::isnan(table.rows[3].metrics[0].spread));
  EXPECT_EQ(table.rows[3].against_baseline.summary.n, 1);
  const std::string text = table_text(sweep, results, table, made),
                    page = sweep_page(sweep, results, table, made);
  EXPECT_NE(text.find("2 workers, 75 s in all"), std::string::npos) << text;
  EXPECT_NE(text.find("1/2, 1 failed"), std::string::npos) << text;
  EXPECT_NE(text.find("FAILED gates, <all>, 0.3, seed 2: worker 2 <was> lost"), std::string::npos) << text;
  EXPECT_NE(page.find("worker 2 &lt;was&gt; lost"), std::string::npos);
  EXPECT_EQ(page.find("<was>"), std::string::npos);
  EXPECT_EQ(page.find("nan"), std::string::npos);
  const auto document = json::parse(sweep_json(sweep, results, table, made));
  EXPECT_EQ(document.at("runs_failed"), 1);
  EXPECT_EQ(document.at("finished"), true);
  EXPECT_TRUE(document.at("table")[3].at("metrics").at("evaluate.mean_recall@1").at("spread").is_null());
}

TEST_F(SweepTableTest, NamedMetricsAloneAndRemarksOnThoseThatNoRunHas) {
  sweep.metrics = {"train.auc", "evaluate.mean_recal@1"};
  sweep.main_metric = "train.auc";
  const Table table = make_table(sweep, results);
  EXPECT_EQ(table.metrics.front(), "train.auc");
  ASSERT_EQ(table.remarks.size(), 1U);
  EXPECT_NE(table.remarks[0].find("did you mean \"evaluate.mean_recall@1\"?"), std::string::npos);
  EXPECT_EQ(table.rows[0].metrics[1].n, 0);
}

TEST_F(SweepTableTest, WhatIsWrittenIsRemembered) {
  const io::Path folder =
      std::filesystem::temp_directory_path() / ("trireme-table-" + std::to_string(::getpid()));
  results[2].state = "RUNNING";
  results[3].state = "FAILED";
  results[3].attempt = 2;
  made.sessions = 3;
  made.wall_seconds = 12.5;
  made.started = "2026-01-31T12:00:00.000Z";
  io::write_file_atomic(folder / "sweep.json", sweep_json(sweep, results, make_table(sweep, results), made));
  const Remembered back = read_remembered(folder / "sweep.json");
  EXPECT_EQ(back.sessions, 3);
  EXPECT_EQ(back.wall_seconds, 12.5);
  EXPECT_EQ(back.started, made.started);
  ASSERT_EQ(back.results.size(), 8U);
  EXPECT_EQ(back.results.at("key-r0-s1").metrics, results[0].metrics);
  EXPECT_EQ(back.results.at("key-r1-s2").attempt, 2);
  EXPECT_TRUE(back.results.at("key-r1-s2").failed());
  EXPECT_FALSE(back.results.at("key-r1-s1").over());
  io::write_file_atomic(folder / "sweep.json", "{\"format\":\"trireme-sweep\",\"version\":1");  // torn
  EXPECT_TRUE(read_remembered(folder / "sweep.json").results.empty());
  EXPECT_TRUE(read_remembered(folder / "absent.json").results.empty());
  std::filesystem::remove_all(folder);
}

TEST_F(SweepTableTest, CsvHasALinePerRowAndPerRun) {
  const Table table = make_table(sweep, results);
  const std::string rows = table_csv(sweep, table), runs = runs_csv(sweep, results, table);
  EXPECT_EQ(std::count(rows.begin(), rows.end(), '\n'), 5);
  EXPECT_EQ(std::count(runs.begin(), runs.end(), '\n'), 9);
  EXPECT_NE(rows.find("\"gates, <all>\",0.3,2,2,0,12.5,"), std::string::npos) << rows;
  EXPECT_NE(runs.find("plain,0,1,SUCCEEDED,,"), std::string::npos) << runs;
}

TEST_F(SweepTableTest, ThePageHasALineOfMeansPerArmOrDots) {
  const Table table = make_table(sweep, results);
  std::string page = sweep_page(sweep, results, table, made);
  EXPECT_NE(page.find("gates, &lt;all&gt; at 0.3: 12.5"), std::string::npos);
  EXPECT_NE(page.find("jobs/r0-s1/report.html"), std::string::npos);
  EXPECT_NE(page.find("abc"), std::string::npos);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  sweep.axes.clear();
  for (auto& row : sweep.rows) row.values.clear(), row.numbers.clear();
  page = sweep_page(sweep, results, make_table(sweep, results), made);
  EXPECT_NE(page.find("<circle"), std::string::npos);
}

TEST_F(SweepTableTest, TheTextIsNotFloodedWithMetricsThatNobodyNamed) {
  for (auto& result : results)
    for (int i = 0; i < 30; ++i) result.metrics.emplace_back("train.m" + std::to_string(i), i);
  std::string text = table_text(sweep, results, make_table(sweep, results), made);
  EXPECT_NE(text.find("train.m7"), std::string::npos) << text;
  EXPECT_EQ(text.find("train.m8"), std::string::npos) << text;
  EXPECT_NE(text.find("22 more metrics are in sweep.csv"), std::string::npos) << text;
  for (int i = 0; i < 30; ++i) sweep.metrics.push_back("train.m" + std::to_string(i));
  text = table_text(sweep, results, make_table(sweep, results), made);
  EXPECT_NE(text.find("train.m29"), std::string::npos) << text;
}

TEST_F(SweepTableTest, RunsOfAnotherCommitAreTold) {
  EXPECT_EQ(commit_remark(results, made), "");
  results[1].commit = "older";
  EXPECT_NE(commit_remark(results, made).find("older"), std::string::npos);
}

TEST_F(SweepTableTest, AnUnfinishedSweepHasATable) {
  for (auto& result : results) result = {};
  const Table table = make_table(sweep, results);
  EXPECT_TRUE(table.metrics.empty());
  EXPECT_FALSE(table_text(sweep, results, table, made).empty());
  EXPECT_NE(sweep_page(sweep, results, table, made).find("0 of 8 runs done"), std::string::npos);
}

TEST(Metrics, AreReadFromTheFilesOfTheStages) {
  const io::Path folder =
      std::filesystem::temp_directory_path() / ("trireme-metrics-" + std::to_string(::getpid()));
  jobs::JobSpec job;
  job.spec.output = folder.string();
  job.spec.stages.resize(2);
  job.spec.stages[0].name = "train";
  job.spec.stages[1].name = "evaluate";
  EXPECT_TRUE(metrics_of(job).empty());
  io::write_file_atomic(folder / "stages/train/signals.json", R"({"metrics":{"auc.weight.sample":0.97}})");
  io::write_file_atomic(folder / "stages/evaluate/evaluation.json",
                        R"({"metrics":{"b":0.25,"a":1,"none":null}})");
  EXPECT_EQ(metrics_of(job),
            (Metrics{{"evaluate.b", 0.25}, {"evaluate.a", 1}, {"train.auc.weight.sample", 0.97}}));
  io::write_file_atomic(folder / "stages/evaluate/evaluation.json", "{\"metrics\":");
  EXPECT_THROW(metrics_of(job), Error);
  std::filesystem::remove_all(folder);
}

TEST(Summaries, OfNothingOneAndMany) {
  EXPECT_EQ(summary_of({}).n, 0);
  EXPECT_TRUE(std::isnan(summary_of({}).mean));
  EXPECT_EQ(cell_text(summary_of({})), "–");
  EXPECT_EQ(cell_text(summary_of({0.5})), "0.5000");
  EXPECT_EQ(cell_text(summary_of({0.25, 0.75})), "0.5000 ± 0.3536");
}

}  // namespace
}  // namespace trireme::coordinator::sweep

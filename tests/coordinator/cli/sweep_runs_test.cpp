// The runs of a sweep against a coordinator that plays back answers.
#include "coordinator/cli/sweep_runs.h"

#include <gtest/gtest.h>

#include <filesystem>

#include <unistd.h>
#include <nlohmann/json.hpp>

#include "tests/coordinator/cli/playback.h"

namespace trireme::coordinator::cli {
namespace {

using nlohmann::json;

std::string job(const std::string& id, const std::string& state, const std::string& cause = "") {
  return json{{"id", id},
              {"state", state},
              {"cause", cause},
              {"active_seconds", 10},
              {"eta_seconds", 5},
              {"stages", {{{"name", "train"}, {"tasks_done", 4}, {"tasks_reused", 3}}}},
              {"workers", {{{"rank", 1}, {"device", "cpu"}}}}}
      .dump();
}

std::string list(const std::vector<std::string>& jobs) {
  json document{{"jobs", json::array()}, {"next_page_token", ""}};
  for (const auto& one : jobs) document["jobs"].push_back(json::parse(one));
  return answer("200 OK", document.dump());
}

class SweepRunsTest : public testing::Test {
 protected:
  io::Path folder = std::filesystem::temp_directory_path() / ("trireme-runs-" + std::to_string(::getpid()));
  sweep::Sweep given;
  ManualClock clock;
  std::string said;

  void SetUp() override {
    std::filesystem::remove_all(folder);
    given.name = "two";
    given.output = folder;
    given.seeds = {1, 2};
    given.arms = {{"a", {}}};
    given.rows = {{"a", {}, {}}};
    for (const std::int64_t seed : given.seeds) {
      sweep::SweepJob one;
      one.seed = seed;
      one.name = "a-s" + std::to_string(seed);
      one.key = "key" + std::to_string(seed);
      one.job.name = one.name;
      one.job.spec.output = (folder / "jobs" / one.name).string();
      one.job.spec.stages.resize(1);
      one.job.spec.stages[0].name = "evaluate";
      given.jobs.push_back(one);
    }
    io::write_file_atomic(folder / "jobs/a-s1/stages/evaluate/evaluation.json",
                          R"({"metrics":{"acc1":0.25}})");
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  SweepRuns runs(bool retry_failed = false) {
    sweep::Provenance made;
    made.commit = "abc";
    return {given, made, retry_failed, clock, [this](const std::string& line) { said += line + "\n"; }};
  }
  json document() const { return json::parse(io::read_file(folder / "sweep.json")); }
};

TEST_F(SweepRunsTest, AreHandedInFollowedCollectedAndRemembered) {
  {
    Playback server({answer("201 Created", job("job-000001", "QUEUED")),
                     answer("201 Created", job("job-000002", "QUEUED")),
                     list({job("job-000001", "QUEUED"), job("job-000009", "RUNNING")}),
                     answer("200 OK", job("job-000009", "STOPPING")),
                     answer("200 OK", job("job-000001", "RUNNING")),
                     answer("200 OK", job("job-000001", "SUCCEEDED")),
                     answer("200 OK", job("job-000002", "FAILED", "out of luck"))});
    const ApiClient client(server.folder, std::chrono::milliseconds(0));
    SweepRuns these = runs();
    these.poll(client);
    ASSERT_TRUE(these.running());
    EXPECT_EQ(these.running()->name, "a, seed 1");
    EXPECT_EQ(these.headline(), "two: 0 of 2 runs done, about 20 s left");  // 5 of this one, 15 of the next
    these.poll(client);
    EXPECT_TRUE(these.all_over());
    EXPECT_EQ(these.failed(), 1);
    EXPECT_NE(server.asked[0].find("Idempotency-Key: sweep-key1\r\n"), std::string::npos) << server.asked[0];
    EXPECT_NE(server.asked[1].find("Idempotency-Key: sweep-key2\r\n"), std::string::npos);
    EXPECT_EQ(server.asked[3].rfind("POST /api/v1/jobs/job-000009:cancel", 0), 0U)
        << server.asked[3];  // not ours
    EXPECT_NE(said.find("a-s2 FAILED after 10 s, 3 of 4 tasks reused: out of luck"), std::string::npos)
        << said;
    EXPECT_FALSE(these.reports_written());
    clock.advance(std::chrono::seconds(11));
    EXPECT_TRUE(these.reports_written());  // waited for long enough
  }
  EXPECT_EQ(document().at("runs")[0].at("metrics").at("evaluate.acc1"), 0.25);
  EXPECT_EQ(document().at("runs")[0].at("commit"), "abc");
  EXPECT_EQ(document().at("runs_failed"), 1);
  EXPECT_EQ(document().at("made_with").at("devices"), json({"cpu"}));
  for (const char* file : {"sweep.csv", "runs.csv", "report.html"})
    EXPECT_TRUE(std::filesystem::exists(folder / file));

  EXPECT_TRUE(runs().all_over());  // nothing is left to do
  SweepRuns again = runs(true);
  EXPECT_FALSE(again.all_over());
  Playback server({answer("201 Created", job("job-000003", "SUCCEEDED"))});
  again.poll(ApiClient(server.folder, std::chrono::milliseconds(0)));
  EXPECT_NE(server.asked[0].find("Idempotency-Key: sweep-key2-1\r\n"), std::string::npos) << server.asked[0];
  EXPECT_TRUE(again.all_over());
  EXPECT_EQ(again.failed(), 0);
}

TEST_F(SweepRunsTest, AJobThatEndedWhileNobodyLookedIsCollectedWhenHandedInAgain) {
  Playback server(
      {answer("200 OK", job("job-000001", "SUCCEEDED")), answer("200 OK", job("job-000002", "SUCCEEDED"))});
  SweepRuns these = runs();
  these.poll(ApiClient(server.folder, std::chrono::milliseconds(0)));
  EXPECT_TRUE(these.all_over());
}

TEST_F(SweepRunsTest, ARefusedRunIsFailedWithTheReason) {
  const std::string problem =
      R"({"detail":"the specification has 1 fault","errors":[{"pointer":"/spec/output","detail":"is outside"}]})";
  Playback server(
      {answer("422 Unprocessable Entity", problem), answer("200 OK", job("job-000001", "SUCCEEDED"))});
  SweepRuns these = runs();
  these.poll(ApiClient(server.folder, std::chrono::milliseconds(0)));
  EXPECT_EQ(these.failed(), 1);
  EXPECT_NE(document().at("runs")[0].at("cause").get<std::string>().find("/spec/output: is outside"),
            std::string::npos);
}

TEST_F(SweepRunsTest, ACoordinatorThatIsNotThereIsWaitedFor) {
  SweepRuns these = runs();
  these.poll(ApiClient(folder / "nowhere", std::chrono::milliseconds(0)));
  EXPECT_FALSE(these.all_over());
  Playback server({answer("503 Service Unavailable", "{}")});
  these.poll(ApiClient(server.folder, std::chrono::milliseconds(0)));
  EXPECT_FALSE(these.all_over());
  EXPECT_EQ(these.failed(), 0);
}

}  // namespace
}  // namespace trireme::coordinator::cli

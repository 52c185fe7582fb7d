// Whole jobs over the local mailbox: the real service, ledger, graph and scheduler; workers that only
// pretend.
#include "coordinator/service/service.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include <unistd.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/mailbox/local/local_mailbox.h"
#include "coordinator/planner/listing.h"
#include "jobs/protocol/hello_device.h"
#include "tests/coordinator/service/fake_workers.h"
#include "tests/support/eventually.h"

namespace trireme::coordinator::service {
namespace {
constexpr std::string_view kSynthesizeTrain = "synthesize:train/0";
using nlohmann::json;
using trireme::testing::eventually;

class ServiceTest : public ::testing::Test {
 protected:
  io::Path output =
      (std::filesystem::exists("/dev/shm") ? io::Path("/dev/shm") : std::filesystem::temp_directory_path()) /
      ("trireme-service-" + std::to_string(::getpid()));
  RealClock clock;
  FakeHabits habits;
  int workers = 2;
  std::unique_ptr<FakeWorkers> fakes;
  std::function<void(Service&)> meanwhile;  // runs on its own thread while the service does
  std::vector<std::string> overrides;
  json stages;  // before those of tiny.json
  bool standing = false;
  std::function<void(ServiceOptions&)> adjust = [](ServiceOptions&) {};

  void SetUp() override { std::filesystem::remove_all(output); }
  void TearDown() override { std::filesystem::remove_all(output); }

  std::string text(const std::string& place = "") {
    json spec = json::parse(io::read_file(io::Path(TRIREME_SOURCE_DIR) / "jobs/examples/tiny.json"));
    spec["spec"]["output"] = (place.empty() ? output : output / place).string();
    spec["spec"]["data"]["train"]["synthetic"]["shards"] = 4;
    if (!stages.is_null())
      spec["spec"]["stages"].insert(spec["spec"]["stages"].begin(), stages.begin(), stages.end());
    spec["spec"]["timeouts"] = {{"heartbeat_seconds", 0.05}, {"suspect_seconds", 0.3}, {"dead_seconds", 0.6},
                                {"fence_seconds", 0.6},      {"lease_seconds", 1.5},   {"step_seconds", 2},
                                {"stop_seconds", 3}};
    return spec.dump();
  }
  jobs::JobSpec job() {
    auto read = jobs::read_job(text(), overrides);
    for (const auto& fault : read.faults) ADD_FAILURE() << fault.pointer << " " << fault.detail;
    return read.job;
  }

  Outcome run() {
    RunFolder folder(output, 0);
    ledger::Ledger ledger(
        {.folder = output / "ledger", .incarnation = folder.incarnation(), .reserve_bytes = 4096}, clock);
    telemetry::Metrics metrics("", 0);
    auto mailboxes = make_local_mailboxes(workers + 1);
    ServiceOptions options;
    if (!standing) options.job = job();
    options.timeouts = job().spec.timeouts;
    options.list = [](const jobs::JobSpec& spec) { return planner::list_job(spec); };
    adjust(options);
    Service service(std::move(options), folder, ledger, std::move(mailboxes[0]), metrics, clock);
    fakes = std::make_unique<FakeWorkers>(std::move(mailboxes), habits);
    std::thread other;
    if (meanwhile) other = std::thread([&] { meanwhile(service); });
    Outcome outcome;
    try {
      outcome = service.run();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "the service ended with: " << error.what();
    }
    if (other.joinable()) other.join();
    if (outcome.orderly) {
      EXPECT_TRUE(eventually([&] { return fakes->left == workers; }));
    }
    return outcome;
  }

  static void await_step(Service& service, std::int64_t step) {
    EXPECT_TRUE(eventually([&] {
      const json job = json::parse(service.describe("job-000001"));
      return !job.at("training").is_null() && job.at("training").at("step") >= step;
    }));
  }
  json document(const io::Path& path) { return json::parse(io::read_file(path)); }
  json terminal() { return document(output / "terminal.json"); }
  std::vector<std::string> steps_on_disk() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(output / "ckpt/train"))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }
};

TEST_F(ServiceTest, AJobRunsFromEndToEnd) {
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.reason;
  EXPECT_TRUE(outcome.orderly);
  EXPECT_EQ(terminal().at("state"), "SUCCEEDED");
  EXPECT_EQ(terminal().at("exit_code"), 0);
  EXPECT_EQ(fakes->left, 2);
  EXPECT_EQ(io::read_file(output / "final/model.safetensors"), "40");
  EXPECT_TRUE(std::filesystem::exists(output / "index/items.jsonl"));
  EXPECT_EQ(document(output / "stages/evaluate/evaluation.json").at("acc1"), 0.5);
  EXPECT_TRUE(std::filesystem::exists(output / "spec.json"));
  // The timeline, from the leases of the ledger: both workers, and every stage that ran on them.
  const std::string report = io::read_file(output / "report.html");
  const std::size_t timeline = report.find("<h2>Timeline</h2>");
  ASSERT_NE(timeline, std::string::npos);
  for (const char* what : {">w1</text>", ">w2</text>", "<title>synthesize:train/0, worker ",
                           "<title>train, worker 1", "<title>train, worker 2", "<title>evaluate, worker "})
    EXPECT_NE(report.find(what, timeline), std::string::npos) << what;
  const std::string lines = io::read_file(output / "stages/inspect:train/outputs.jsonl");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 4);
  EXPECT_EQ(steps_on_disk(), (std::vector<std::string>{"step-00000020", "step-00000030", "step-00000040"}));
  const json progress = document(output / "progress.json");
  EXPECT_EQ(progress.at("job").at("state"), "SUCCEEDED");
  EXPECT_EQ(progress.at("job").at("progressPercentage"), 100);
  for (const auto& [what, times] : fakes->runs) EXPECT_EQ(times, 1) << what;
  ASSERT_EQ(fakes->gangs.size(), 1U);
  EXPECT_EQ(fakes->gangs[0], (std::vector<Rank>{1, 2}));
}

TEST_F(ServiceTest, AGangTakesTheLargestDivisorOfItsSlots) {
  workers = 3;  // of 8 slots: two
  EXPECT_EQ(run().exit_code, 0);
  ASSERT_EQ(fakes->gangs.size(), 1U);
  EXPECT_EQ(fakes->gangs[0], (std::vector<Rank>{1, 2}));
}

TEST_F(ServiceTest, ALostWorkerEndsTheIncarnationAndTheNextOneGoesOn) {
  habits.step_milliseconds = 2;
  habits.fall_silent = [](std::int64_t step) { return step == 25; };
  const Outcome lost = run();
  EXPECT_EQ(lost.exit_code, 75);
  EXPECT_FALSE(lost.orderly);
  EXPECT_EQ(terminal().at("state"), "RESTART");
  EXPECT_EQ(terminal().at("retryable"), true);
  EXPECT_EQ(terminal().at("step"), 20);
  const auto first_runs = fakes->runs;

  habits.fall_silent = nullptr;
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.reason;
  ASSERT_EQ(fakes->resumed_from.size(), 1U);
  EXPECT_EQ(fakes->resumed_from[0], (output / "ckpt/train/step-00000020").string());
  for (const auto& [what, times] : fakes->runs)
    EXPECT_FALSE(first_runs.contains(what)) << what << " was done twice";
  EXPECT_EQ(document(output / "progress.json").at("job").at("attempt"), 2);
}

TEST_F(ServiceTest, WhatWasMadeOfAnInputThatHasChangedIsMadeAgain) {
  std::filesystem::create_directories(output);
  for (const char* name : {"a.tar", "b.tar"}) io::write_file_atomic(output / name, std::string(2048, 'x'));
  overrides = {"spec.data.train=" + (output / "a.tar").string()};
  habits.step_milliseconds = 2;
  habits.fall_silent = [](std::int64_t step) { return step == 25; };
  EXPECT_EQ(run().exit_code, 75);
  const auto first_runs = fakes->runs;

  io::write_file_atomic(output / "a.tar", std::string(4096, 'x'));
  habits.fall_silent = nullptr;
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.reason;
  int inspected = 0;
  for (const auto& [what, times] : fakes->runs) {
    inspected += what.starts_with("inspect:train/") ? times : 0;
    EXPECT_FALSE(first_runs.contains(what)) << what << " was done twice";
  }
  EXPECT_EQ(inspected, 1);
  EXPECT_EQ(fakes->resumed_from.size(), 1U);
  const std::string lines = io::read_file(output / "stages/inspect:train/outputs.jsonl");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 1);
}

// The exports of the other shard wait for both to be inspected, and then are what they were.
TEST_F(ServiceTest, WhatWaitedForAnInputThatHasChangedIsNotDoneAgain) {
  std::filesystem::create_directories(output);
  for (const char* name : {"a.tar", "b.tar"}) io::write_file_atomic(output / name, std::string(2048, 'x'));
  overrides = {"spec.data.train=" + output.string()};
  stages = json::parse(
      R"([{"name": "filter", "kind": "filter", "data": ["train"], "short_side_over_px": 8},
          {"name": "export", "kind": "export", "needs": ["filter"], "data": ["train"]}])");
  habits.step_milliseconds = 2;
  habits.fall_silent = [](std::int64_t step) { return step == 25; };
  EXPECT_EQ(run().exit_code, 75);
  io::write_file_atomic(output / "a.tar", std::string(4096, 'x'));
  habits.fall_silent = nullptr;
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.reason;
  std::map<std::pair<std::string, std::string>, int> done;  // by task and address
  RunFolder folder(output, 0);
  ledger::Ledger ledger(
      {.folder = output / "ledger", .incarnation = folder.incarnation(), .reserve_bytes = 4096}, clock);
  ledger.for_each_lease("job-000001", [&](const ledger::LeaseRow& row) {
    if (row.state != ledger::LeaseState::kDone) return;
    EXPECT_EQ(++done[std::pair(row.task, row.address)], 1) << row.task;
  });
  const std::string lines = io::read_file(output / "stages/export/outputs.jsonl");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
}

TEST_F(ServiceTest, AShardThatChangesWhileItIsTrainedOnEndsTheJobByName) {
  std::filesystem::create_directories(output);
  io::write_file_atomic(output / "a.tar", std::string(2048, 'x'));
  overrides = {"spec.data.train=" + (output / "a.tar").string()};
  habits.step_milliseconds = 2;
  meanwhile = [&](Service& service) {
    await_step(service, 5);
    io::write_file_atomic(output / "a.tar", std::string(2048, 'y'));
  };
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.reason.find((output / "a.tar").string() + " has changed while the job read it"),
            std::string::npos)
      << outcome.reason;
  EXPECT_FALSE(std::filesystem::exists(output / "final"));
}

TEST_F(ServiceTest, ADamagedCheckpointGivesWayToTheOneBefore) {
  habits.step_milliseconds = 2;
  habits.fall_silent = [](std::int64_t step) { return step == 35; };
  EXPECT_EQ(run().exit_code, 75);
  io::write_file_atomic(output / "ckpt/train/step-00000030/model.safetensors", "31");
  habits.fall_silent = nullptr;
  EXPECT_EQ(run().exit_code, 0);
  EXPECT_EQ(fakes->resumed_from[0], (output / "ckpt/train/step-00000020").string());
}

TEST_F(ServiceTest, WithoutAnyWholeCheckpointTheJobFailsAsDamaged) {
  habits.step_milliseconds = 2;
  habits.fall_silent = [](std::int64_t step) { return step == 25; };
  EXPECT_EQ(run().exit_code, 75);
  io::write_file_atomic(output / "ckpt/train/step-00000020/model.safetensors", "");
  std::filesystem::remove(output / "ckpt/train/step-00000010/manifest.json");
  habits.fall_silent = nullptr;
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 65);
  EXPECT_NE(terminal().at("reason").get<std::string>().find("model.safetensors"), std::string::npos);
}

// The three ways of RELIABILITY 8.4 have their own tests; here nothing may look like a first start.
TEST_F(ServiceTest, ALostLedgerIsRefusedAndOtherSettingsKeepTheirCheckpoints) {
  habits.step_milliseconds = 2;
  habits.fall_silent = [](std::int64_t step) { return step == 25; };
  EXPECT_EQ(run().exit_code, 75);
  const auto sealed = [&] {
    auto names = steps_on_disk();
    std::erase_if(names, [](const auto& name) { return name.starts_with("."); });  // half written
    return names;
  };
  EXPECT_EQ(sealed(), (std::vector<std::string>{"step-00000010", "step-00000020"}));
  overrides = {"spec.stages.train.optimizer.learning_rate=0.5"};
  EXPECT_EQ(run().exit_code, 75);
  const auto both = sealed();
  EXPECT_EQ(both.size(), 4U) << ::testing::PrintToString(both);
  for (const char* name : {"step-00000010", "step-00000020"})
    EXPECT_TRUE(std::find(both.begin(), both.end(), name) != both.end());
  EXPECT_EQ(fakes->resumed_from.at(0), "");
  overrides.clear();
  EXPECT_EQ(run().exit_code, 75);
  EXPECT_EQ(fakes->resumed_from.at(0), (output / "ckpt/train/step-00000020").string());

  std::filesystem::rename(output / "ledger", output / "lost");
  habits.fall_silent = nullptr;
  const Outcome refused = run();  // of a ledger that is there, but knows nothing
  EXPECT_EQ(refused.exit_code, 65);
  EXPECT_NE(refused.reason.find("step-00000020"), std::string::npos) << refused.reason;
  EXPECT_EQ(sealed(), both);
}

TEST_F(ServiceTest, WhatALostTaskLeftHalfWrittenGoesAlsoWhenItsAddressIsAnother) {
  habits.step_milliseconds = 2;
  habits.fall_silent = [](std::int64_t step) { return step == 5; };
  EXPECT_EQ(run().exit_code, 75);
  const io::Path half = fakes->gang_outputs.at(0) + ".safetensors.tmp-1-2-3";
  io::write_file_atomic(half, "half");
  overrides = {"spec.stages.train.optimizer.learning_rate=0.5"};
  habits.fall_silent = nullptr;
  EXPECT_EQ(run().exit_code, 0);
  EXPECT_NE(fakes->gang_outputs.at(0) + ".safetensors.tmp-1-2-3", half.string());
  EXPECT_FALSE(std::filesystem::exists(half));
}

TEST_F(ServiceTest, ATaskIsTriedAgainAndThenTheJobFails) {
  std::atomic<int> tries{0};
  habits.fail = [&](Rank, const jobs::Task& task) -> std::optional<jobs::TaskFailed> {
    if (task.kind != jobs::TaskKind::kEvaluate) return std::nullopt;
    ++tries;
    return jobs::TaskFailed{{}, ErrorKind::kTryAgain, true, "no luck"};
  };
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(tries, 3);
  EXPECT_EQ(terminal().at("state"), "FAILED");
  EXPECT_NE(terminal().at("reason").get<std::string>().find("no luck"), std::string::npos);
  EXPECT_EQ(terminal().at("retryable"), false);
}

// A worker that lives, and does not get on: another one with nothing to do takes its task over.
TEST_F(ServiceTest, ATaskThatTakesFarTooLongIsDoneByAnother) {
  overrides = {"spec.timeouts.lease_seconds=60"};
  int synthesized = 0, of_train = 0;
  habits.hold = [&](Rank, const jobs::Task& task) {
    if (task.kind != jobs::TaskKind::kSynthesize) return false;
    ++synthesized;
    return task.stage == kSynthesizeTrain && ++of_train == 4;  // three fellows are done before
  };
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.reason;
  EXPECT_EQ(synthesized, 9);  // eight shards, one of them twice
  ASSERT_EQ(fakes->let_go.size(), 1U);
  EXPECT_NE(fakes->let_go[0].find(" was faster"), std::string::npos) << fakes->let_go[0];
  for (const auto& [what, times] : fakes->runs) EXPECT_EQ(times, 1) << what;
  ASSERT_EQ(fakes->gangs.size(), 1U);
  EXPECT_EQ(fakes->gangs[0], (std::vector<Rank>{1, 2}));  // it is back
}

// Two hold the same task, and both give up: it is ready once.
TEST_F(ServiceTest, ATaskThatTwoHadInHandIsTriedOnceMore) {
  workers = 3;
  overrides = {"spec.timeouts.lease_seconds=60"};
  int of_train = 0;
  std::string held;
  habits.hold = [&](Rank, const jobs::Task& task) {
    if (task.stage != kSynthesizeTrain || ++of_train != 4) return false;
    held = task.address;
    return true;
  };
  habits.fail = [&](Rank, const jobs::Task& task) -> std::optional<jobs::TaskFailed> {
    if (held.empty() || task.address != held || of_train > 4) return std::nullopt;
    ++of_train;  // the second worker of the task that is held
    return jobs::TaskFailed{{}, ErrorKind::kTryAgain, true, "no luck"};
  };
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.reason;
  ASSERT_EQ(fakes->let_go.size(), 1U);
  EXPECT_NE(fakes->let_go[0].find(" was faster"), std::string::npos) << fakes->let_go[0];
  for (const auto& [what, times] : fakes->runs) EXPECT_EQ(times, 1) << what;
}

TEST_F(ServiceTest, AnErrorThatCannotGoAwayFailsAtOnce) {
  std::atomic<int> tries{0};
  habits.fail = [&](Rank, const jobs::Task& task) -> std::optional<jobs::TaskFailed> {
    if (task.kind != jobs::TaskKind::kInspect) return std::nullopt;
    ++tries;
    return jobs::TaskFailed{{}, ErrorKind::kInvalid, false, "not a tar"};
  };
  EXPECT_EQ(run().exit_code, 1);
  EXPECT_LE(tries, 2);
}

TEST_F(ServiceTest, StopsAfterThreeStartsWithoutProgress) {
  habits.fail = nullptr;
  workers = 1;
  overrides = {"spec.timeouts.first_heartbeat_seconds=0.2"};
  for (int start = 0; start < 3; ++start) {
    RunFolder folder(output, 0);
    ledger::Ledger ledger(
        {.folder = output / "ledger", .incarnation = folder.incarnation(), .reserve_bytes = 4096}, clock);
    telemetry::Metrics metrics("", 0);
    ServiceOptions options;
    options.job = job();
    options.list = [](const jobs::JobSpec& spec) { return planner::list_job(spec); };
    auto mailboxes = make_local_mailboxes(2);
    Service service(std::move(options), folder, ledger, std::move(mailboxes[0]), metrics, clock);
    EXPECT_EQ(service.run().exit_code, 75);  // the worker never reports
  }
  EXPECT_EQ(run().exit_code, 93);
  EXPECT_EQ(terminal().at("state"), "FAILED");
}

TEST_F(ServiceTest, ASignalCheckpointsAndTheNextStartGoesOn) {
  habits.step_milliseconds = 2;
  habits.steps = 2000;
  habits.checkpoint_every = 100000;
  meanwhile = [&](Service& service) {
    await_step(service, 11);
    service.stop_by_signal();
  };
  const Outcome stopped = run();
  EXPECT_EQ(stopped.exit_code, 75);
  EXPECT_TRUE(stopped.orderly);
  EXPECT_EQ(terminal().at("state"), "STOPPED");
  EXPECT_EQ(terminal().at("retryable"), false);
  EXPECT_GT(terminal().at("step"), 10);
  meanwhile = nullptr;
  habits.steps = 100;
  habits.step_milliseconds = 0;
  EXPECT_EQ(run().exit_code, 0);
  EXPECT_NE(fakes->resumed_from[0], "");
}

// Announced is what the ledger holds: members that answer before gang rank 0 do not end its lease.
TEST_F(ServiceTest, MembersThatLeaveFirstDoNotLoseTheCheckpointOfAStop) {
  habits.step_milliseconds = 2;
  habits.steps = 100000;
  habits.checkpoint_every = 1000000;
  habits.members_leave_first = true;
  workers = 4;
  meanwhile = [&](Service& service) {
    await_step(service, 4);
    service.stop_by_signal();
  };
  EXPECT_EQ(run().exit_code, 75);
  const std::int64_t first = terminal().at("step");
  EXPECT_GT(first, 3);
  meanwhile = [&](Service& service) {
    await_step(service, 4);
    service.cancel("job-000001");
  };
  EXPECT_EQ(run().exit_code, 1);
  ASSERT_FALSE(fakes->resumed_from.empty());
  EXPECT_EQ(std::stoll(fakes->resumed_from[0].substr(fakes->resumed_from[0].size() - 8)), first);
  const std::int64_t second = terminal().at("step");
  EXPECT_GT(second, first);
  meanwhile = nullptr;
  habits.steps = second + 5;
  EXPECT_EQ(run().exit_code, 0);
  ASSERT_FALSE(fakes->resumed_from.empty());
  EXPECT_EQ(std::stoll(fakes->resumed_from[0].substr(fakes->resumed_from[0].size() - 8)), second);
}

// The failure of another member ends the lease while the checkpoint is on its way: it counts all the same.
TEST_F(ServiceTest, ACheckpointWrittenWhileItsGangFailsIsKept) {
  habits.checkpoint_every = 1000000;
  habits.member_fails_at = 17;
  EXPECT_EQ(run().exit_code, 0);
  ASSERT_EQ(fakes->resumed_from.size(), 2U);
  EXPECT_EQ(fakes->resumed_from[1], (output / "ckpt/train/step-00000017").string());
}

// As for a lost host: the largest divisor of the slots that fits, from the last checkpoint, in the same
// start.
TEST_F(ServiceTest, AWorkerWithoutItsDeviceIsLeftOutAndTheJobGoesOn) {
  workers = 4;
  habits.step_milliseconds = 1;
  habits.device_lost_at = {25};
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.reason;
  EXPECT_TRUE(outcome.orderly);
  ASSERT_EQ(fakes->gangs.size(), 2U);
  EXPECT_EQ(fakes->gangs[0], (std::vector<Rank>{1, 2, 3, 4}));
  EXPECT_EQ(fakes->gangs[1], (std::vector<Rank>{1, 2}));
  EXPECT_EQ(fakes->resumed_from[1], (output / "ckpt/train/step-00000020").string());
  const json job = document(output / "progress.json").at("job");
  EXPECT_EQ(job.at("attempt"), 1);
}

// A restart after a GPU has died: its worker would go on on the CPU.
TEST_F(ServiceTest, AWorkerOnTheCpuBesideItsDeadGpuIsLeftOutAmongWorkersWithGpus) {
  workers = 4;
  for (const bool others_work : {true, false}) {
    SetUp();
    habits.greet = [others_work](Rank rank, jobs::Hello& said) {
      if (rank != 3 && others_work) said.device = "cuda:0 NVIDIA H200";
      if (rank == 3) said.device = jobs::cpu_beside_gpu("cuda:2 does not work: uncorrectable ECC error");
    };
    const Outcome outcome = run();
    EXPECT_EQ(outcome.exit_code, 0) << outcome.reason;
    EXPECT_EQ(fakes->gangs.front(),
              others_work ? (std::vector<Rank>{1, 2}) : (std::vector<Rank>{1, 2, 3, 4}));
  }
}

TEST_F(ServiceTest, WithoutAnyDeviceTheNextStartGoesOn) {
  habits.step_milliseconds = 1;
  habits.device_lost_at = {12, 15};
  const Outcome lost = run();
  EXPECT_EQ(lost.exit_code, 75);
  EXPECT_EQ(terminal().at("state"), "RESTART");
  EXPECT_NE(lost.reason.find("no worker has a device any more"), std::string::npos) << lost.reason;
  EXPECT_NE(lost.reason.find("CUDA error: gone"), std::string::npos) << lost.reason;
  habits.device_lost_at.clear();
  EXPECT_EQ(run().exit_code, 0);
  EXPECT_EQ(fakes->resumed_from[0], (output / "ckpt/train/step-00000010").string());
}

TEST_F(ServiceTest, CancelEndsARunningJobAndIsIdempotent) {
  habits.step_milliseconds = 2;
  habits.steps = 100000;
  meanwhile = [&](Service& service) {
    await_step(service, 0);
    EXPECT_EQ(json::parse(service.cancel("job-000001")).at("state"), "STOPPING");
    service.cancel("job-000001");
  };
  const Outcome outcome = run();
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(terminal().at("state"), "CANCELLED");
}

TEST_F(ServiceTest, ADeadlineFailsTheJob) {
  habits.step_milliseconds = 5;
  habits.steps = 100000;
  overrides = {"spec.deadline_seconds=0.5"};
  EXPECT_EQ(run().exit_code, 1);
  EXPECT_NE(terminal().at("reason").get<std::string>().find("deadline"), std::string::npos);
}

// A full disk is no fault of a task's: the job waits, and what was given up is given away again.
TEST_F(ServiceTest, AFullDiskPausesAndGoesOn) {
  adjust = [](ServiceOptions& options) { options.try_disk_after = std::chrono::milliseconds(100); };
  std::atomic<int> full{3};
  habits.fail = [&](Rank, const jobs::Task& task) -> std::optional<jobs::TaskFailed> {
    if (task.kind != jobs::TaskKind::kInspect || --full < 0) return std::nullopt;
    return jobs::TaskFailed{{}, ErrorKind::kDiskFull, false, "cannot write /there: No space left on device"};
  };
  EXPECT_EQ(run().exit_code, 0);
  std::string events;
  RunFolder folder(output, 0);
  ledger::Ledger ledger(
      {.folder = output / "ledger", .incarnation = folder.incarnation(), .reserve_bytes = 4096}, clock);
  for (const auto& row : ledger.events("job-000001", 0, 1000))
    if (row.event.kind == "Paused" || row.event.kind == "Resumed" || row.event.kind == "JobState")
      events += row.event.kind + row.event.payload + "\n";
  EXPECT_NE(events.find("Paused{\"why\":\"the disk is full"), std::string::npos) << events;
  EXPECT_NE(events.find("/there"), std::string::npos) << events;
  EXPECT_NE(events.find("PAUSED"), std::string::npos) << events;
  EXPECT_NE(events.find("Resumed"), std::string::npos) << events;
}

// F63.
TEST_F(ServiceTest, TheQueueHasAnEnd) {
  standing = true;
  adjust = [](ServiceOptions& options) { options.most_jobs = 2; };
  habits.step_milliseconds = 5;
  habits.steps = 100000;
  meanwhile = [&](Service& service) {
    EXPECT_EQ(service.submit(text(), "").outcome, SubmitAnswer::Outcome::kCreated);
    const auto second = service.submit(text("second"), "key");
    EXPECT_EQ(second.outcome, SubmitAnswer::Outcome::kCreated);
    EXPECT_EQ(service.submit(text("third"), "").outcome, SubmitAnswer::Outcome::kQueueFull);
    EXPECT_EQ(service.submit(text("second"), "key").outcome, SubmitAnswer::Outcome::kSameAsBefore);
    service.cancel(second.job_id);
    EXPECT_EQ(service.submit(text("third"), "").outcome, SubmitAnswer::Outcome::kCreated);
    service.stop_by_signal();
    service.stop_by_signal();
  };
  run();
}

TEST_F(ServiceTest, AStandingCoordinatorTakesJobsInOrder) {
  standing = true;
  meanwhile = [&](Service& service) {
    const auto first = service.submit(text(), "key-1");
    EXPECT_EQ(first.outcome, SubmitAnswer::Outcome::kCreated);
    EXPECT_EQ(service.submit(text(), "key-1").outcome, SubmitAnswer::Outcome::kSameAsBefore);
    EXPECT_EQ(service.submit(text() + " ", "key-1").outcome, SubmitAnswer::Outcome::kKeyReused);
    EXPECT_EQ(service.submit("{\"spec\":{}}", "").outcome, SubmitAnswer::Outcome::kInvalid);
    try {
      service.submit(text("../" + output.filename().string() + "/"), "");
      ADD_FAILURE() << "two unfinished jobs of one output";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kConflict);
    }
    const auto second = service.submit(text("second"), "");
    EXPECT_EQ(second.job_id, "job-000002");
    const auto third = service.submit(text("third"), "");
    EXPECT_EQ(json::parse(service.cancel(third.job_id)).at("state"), "CANCELLED");
    EXPECT_TRUE(
        eventually([&] { return json::parse(service.describe(second.job_id)).at("state") == "SUCCEEDED"; }));
    const json jobs = json::parse(service.list_jobs("SUCCEEDED", 10, ""));
    EXPECT_EQ(jobs.at("jobs").size(), 2U);
    const json page = json::parse(service.list_jobs("", 1, ""));
    EXPECT_EQ(page.at("next_page_token"), "job-000001");
    EXPECT_EQ(json::parse(service.list_jobs("", 9, "job-000001")).at("jobs").size(), 2U);
    EXPECT_THROW(service.describe("job-9"), Error);
    const json events = json::parse(service.events("job-000001", 0, 1000)).at("events");
    std::set<std::string> kinds;
    for (const auto& event : events) kinds.insert(event.at("kind"));
    for (const char* kind :
         {"RunOpened", "JobSubmitted", "JobState", "PlanFixed", "LeaseGranted", "LeaseDone",
          "CheckpointCommitted", "CheckpointRetired", "StageCommitted", "WorkerJoined"})
      EXPECT_TRUE(kinds.contains(kind)) << kind;
    EXPECT_FALSE(json::parse(service.service_discovery()).empty());
    std::string reasons;
    EXPECT_TRUE(service.ready(reasons)) << reasons;
    service.stop_by_signal();
  };
  const Outcome outcome = run();
  EXPECT_TRUE(outcome.orderly);
}

}  // namespace
}  // namespace trireme::coordinator::service

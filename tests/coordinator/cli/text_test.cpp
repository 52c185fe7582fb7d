#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <sstream>

#include "common/base/error.h"
#include "common/io/file.h"
#include "coordinator/cli/client/display.h"
#include "coordinator/cli/client/format.h"
#include "coordinator/cli/client/job_text.h"
#include "coordinator/cli/doctor.h"
#include "coordinator/cli/launch/mpirun.h"
#include "coordinator/cli/plan/spec_file.h"
#include "coordinator/cli/results.h"

namespace trireme::coordinator::cli {
namespace {

JobView sample_job() {
  return job_view_from_json(
      R"({"id":"job-1","name":"flickr","state":"RUNNING","attempt":2,"output":"/nowhere","stages":[
    {"name":"inspect:train","kind":"inspect","implicit":true,"state":"done","tasks_done":4,"tasks_known":4,"tasks_final":true,"counts":{}},
    {"name":"filter","kind":"filter","state":"running","tasks_done":3,"tasks_known":8,"tasks_final":false,"tasks_reused":1,
     "counts":{"in":768,"kept":700,"dropped":68,"dropped.min_words":60,"dropped.aspect":8,"bad.truncated":2}},
    {"name":"train","kind":"train","state":"running","tasks_done":0,"tasks_known":1,"tasks_final":true},
    {"name":"evaluate","kind":"evaluate","state":"waiting"}],
    "training":{"stage":"train","step":40,"steps":200,"epoch":1,"loss":2.31,"samples_per_second":812.5},
    "workers":[{"rank":1,"state":"busy"},{"rank":2,"state":"dead"}],"eta_seconds":125})");
}

TEST(Format, TextForPeople) {
  EXPECT_EQ(duration_text(0), "0 s");
  EXPECT_EQ(duration_text(185), "3 min 05 s");
  EXPECT_EQ(duration_text(7800), "2 h 10 min");
  EXPECT_EQ(duration_text(std::nan("")), "-");
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1234567), "1,234,567");
  EXPECT_EQ(count_text(-123456), "-123,456");
  EXPECT_EQ(bytes_text(512), "512 B");
  EXPECT_EQ(bytes_text(1610612736), "1.5 GiB");
  EXPECT_EQ(bar(0.5, 4), "[##--]");
  EXPECT_EQ(bar(7, 4), "[####]");
  EXPECT_EQ(bar(std::nan(""), 4), "[----]");
  EXPECT_EQ(table_text({{"name", "n"}, {"é", "10"}, {"long name", "5"}}),
            "name       n\né          10\nlong name   5\n");
}

TEST(JobView, OddMembersKeepTheirDefaults) {
  const JobView job = job_view_from_json(
      R"({"id":5,"state":"RUNNING","stages":[1,{"name":"a","tasks_done":"x"}],"training":null,"eta_seconds":null,"workers":{}})");
  EXPECT_EQ(job.id, "");
  ASSERT_EQ(job.stages.size(), 1U);
  EXPECT_EQ(job.stages[0].tasks_done, 0);
  EXPECT_FALSE(job.training);
  EXPECT_THROW(job_view_from_json("[1]"), Error);
  EXPECT_THROW(job_view_from_json("{"), Error);
}

TEST(JobView, DescribeNamesTheSlowWorkerAndWhatIsInQuarantine) {
  const std::string text = job_text(R"({"id":"job-1","workers":[{"rank":1,"state":"busy","speed_ratio":1},
    {"rank":2,"state":"busy","speed_ratio":0.31},{"rank":3,"state":"busy"}],"quarantine":[
    {"shard":"/a/7.tar","sample":"00\u001b12","state":"quarantined","deaths":2,"last":"worker 2, signal 11, stage filter"},
    {"shard":"/a/8.tar","sample":"","state":"suspect","deaths":1,"last":""}]})");
  const std::size_t slow = text.find("slow: 31 % of the fastest");
  ASSERT_NE(slow, std::string::npos) << text;
  EXPECT_EQ(text.find("slow:", slow + 1), std::string::npos) << text;
  EXPECT_NE(text.find("2  worker 2, signal 11, stage filter"), std::string::npos) << text;
  EXPECT_NE(text.find("(all)"), std::string::npos) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
}

TEST(Progress, LinesShowBarsTrainingAndTime) {
  const auto lines = progress_lines(sample_job(), 200);
  ASSERT_EQ(lines.size(), 5U);
  EXPECT_EQ(lines[0], "flickr  RUNNING  attempt 2  1 of 2 workers busy, 1 silent  about 2 min 05 s left");
  EXPECT_NE(lines[1].find("[########################] 4/4 tasks"), std::string::npos);
  EXPECT_NE(lines[2].find("3/8+ tasks, 1 reused, kept 700 of 768"), std::string::npos);
  EXPECT_NE(lines[3].find("[####--------------------] step 40/200  epoch 1  loss 2.3100  812 samples/s"),
            std::string::npos)
      << lines[3];
  EXPECT_NE(lines[4].find("waiting"), std::string::npos);
  for (const auto& line : progress_lines(sample_job(), 20)) EXPECT_LE(line.size(), 20U);
}

TEST(Display, PlainLinesAreFewAndOnlyWhenSomethingChanged) {
  std::ostringstream out;
  ManualClock clock;
  Display display(out, false, clock);
  JobView job = sample_job();
  display.update(job);
  const std::string first = out.str();
  EXPECT_EQ(first,
            "flickr RUNNING; filter: 3/8+ tasks, 1 reused, kept 700 of 768; train: step 40/200  epoch 1  "
            "loss 2.3100  812 samples/s; about 2 min 05 s left\n");
  job.training->step = 41;
  display.update(job);
  EXPECT_EQ(out.str(), first);  // too soon
  clock.advance(std::chrono::seconds(3));
  display.update(job);
  const std::string second = out.str();
  EXPECT_EQ(
      second.substr(first.size()),
      "flickr RUNNING; train: step 41/200  epoch 1  loss 2.3100  812 samples/s; about 2 min 05 s left\n");
  clock.advance(std::chrono::seconds(3));
  display.update(job);
  EXPECT_EQ(out.str(), second);  // nothing new
  job.state = "SUCCEEDED";
  display.update(job);
  EXPECT_NE(out.str(), second);  // at once
  EXPECT_EQ(out.str().find('\x1b'), std::string::npos);
}

TEST(Display, TerminalIsRedrawnInPlaceAndMessagesStay) {
  std::ostringstream out;
  ManualClock clock;
  Display display(out, true, clock);
  display.update(sample_job());
  out.str("");
  clock.advance(std::chrono::seconds(1));
  display.update(sample_job());
  EXPECT_EQ(out.str().rfind("\x1b[1A\x1b[2K\x1b[1A", 0), 0U);
  out.str("");
  display.say("incarnation 1 ended");
  EXPECT_NE(out.str().find("incarnation 1 ended\nflickr  RUNNING"), std::string::npos);
}

TEST(Display, APrefaceStandsAboveTheJobOrBeforeIt) {
  std::ostringstream lines, screen;
  ManualClock clock;
  Display plain(lines, false, clock), terminal(screen, true, clock);
  for (auto* display : {&plain, &terminal}) {
    display->preface("noise: 3 of 12 runs done");
    display->update(sample_job());
  }
  EXPECT_EQ(lines.str().rfind("noise: 3 of 12 runs done; flickr RUNNING; ", 0), 0U) << lines.str();
  EXPECT_EQ(screen.str().rfind("noise: 3 of 12 runs done\nflickr  RUNNING", 0), 0U) << screen.str();
  plain.finish();
  const std::string all = lines.str();
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 1);  // nothing new at the end
  screen.str("");
  terminal.say("message");
  const std::string redrawn = screen.str();
  std::size_t erased = 0;
  for (std::size_t at = redrawn.find("\x1b[1A"); at != std::string::npos;
       at = redrawn.find("\x1b[1A", at + 1))
    ++erased;
  EXPECT_EQ(erased, 6U);  // the preface too
}

TEST(Display, ControlCharactersOfTheJobAreEscaped) {
  JobView job = sample_job();
  job.name = "a\x1b[2Jb";
  for (const auto& line : progress_lines(job, 200)) EXPECT_EQ(line.find('\x1b'), std::string::npos);
  EXPECT_EQ(plain_line(job).find('\x1b'), std::string::npos);
}

TEST(Faults, OfSeveralLinesStandInOne) {
  const std::string text = faults_text({{"/spec/models/a", "invalid", "the file\n  has no config\n", ""}});
  EXPECT_NE(text.find("/spec/models/a: the file has no config"), std::string::npos) << text;
  EXPECT_EQ(text.find("\\x0a"), std::string::npos) << text;
}

TEST(Results, TablesChanceAndPlaces) {
  const io::Path folder =
      std::filesystem::temp_directory_path() / ("trireme-results-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder / "stages/evaluate");
  std::filesystem::create_directories(folder / "final");
  std::filesystem::create_directories(folder / "index");
  io::write_file_atomic(
      folder / "stages/evaluate/evaluation.json",
      R"({"dataset":"test","metrics":{"image_retrieval_recall@1":0.316,"x":null},"chance":{"image_retrieval_recall@1":0.01}})",
      false);
  JobView job = sample_job();
  job.output = folder.string();
  const std::string text = results_text(job);
  EXPECT_NE(text.find("Samples left out by filter: kept 700 of 768\nreason             "
                      "samples\ndropped.min_words       60\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("Evaluation evaluate on test\n"), std::string::npos);
  EXPECT_NE(text.find("image_retrieval_recall@1  0.3160  0.0100"), std::string::npos) << text;
  EXPECT_NE(text.find("model"), std::string::npos);
  EXPECT_NE(text.find("trireme search " + folder.string()), std::string::npos);
  EXPECT_EQ(text.find("report"), std::string::npos);
  io::write_file_atomic(folder / "stages/evaluate/evaluation.json", "[", false);
  EXPECT_NE(results_text(job).find("evaluation.json: "), std::string::npos);
  job.output = (folder / "my run").string();
  std::filesystem::create_directories(folder / "my run/index");
  EXPECT_NE(results_text(job).find("trireme search '" + job.output + "' "), std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST(Mpirun, VersionsAreTold) {
  const auto open = parse_mpirun_version("mpirun (Open MPI) 4.1.4\n\nReport bugs to …\n");
  EXPECT_EQ(open.maker, MpirunVersion::Maker::kOpenMpi);
  EXPECT_EQ(open.major, 4);
  EXPECT_EQ(open.minor, 1);
  EXPECT_EQ(parse_mpirun_version("mpirun (Open MPI) 5.0.7rc1").major, 5);
  EXPECT_EQ(parse_mpirun_version("HYDRA build details:\n Version: 4.0.2").maker,
            MpirunVersion::Maker::kOther);
  EXPECT_EQ(parse_mpirun_version("").maker, MpirunVersion::Maker::kOther);
  std::string note;
  EXPECT_THROW(check_mpirun("/no/such/mpirun", note), Error);
  EXPECT_THROW(check_mpirun("/bin/true", note), Error);
}

TEST(Mpirun, CommandHasTheSettingsAndBothPrograms) {
  LaunchPlan plan;
  plan.coordinator = "/b/trireme-coordinator";
  plan.worker = "/b/trireme-worker";
  plan.coordinator_arguments = {"--job", "a b.json"};
  plan.extra = {"--hostfile", "h"};
  plan.workers = 3;
  std::string four, five;
  for (const auto& word : mpirun_command(plan, parse_mpirun_version("mpirun (Open MPI) 4.1.4")))
    four += word + "|";
  for (const auto& word : mpirun_command(plan, parse_mpirun_version("mpirun (Open MPI) 5.0.1")))
    five += word + "|";
  EXPECT_EQ(four,
            "mpirun|--mca|odls_base_sigkill_timeout|0|--mca|oob_tcp_keepalive_time|2|--mca|oob_tcp_keepalive_"
            "intvl|1|--mca|oob_tcp_keepalive_probes|3|"
            "--oversubscribe|--bind-to|none|--hostfile|h|-n|1|-x|TRIREME_INCARNATION|-x|TRIREME_SUPERVISOR_"
            "PID|-x|TRIREME_LOG_DIR|/b/trireme-coordinator|--job|a b.json|"
            ":|-n|3|-x|TRIREME_INCARNATION|-x|TRIREME_SUPERVISOR_PID|-x|TRIREME_LOG_DIR|/b/trireme-worker|");
  EXPECT_NE(five.find("--map-by|:OVERSUBSCRIBE|"), std::string::npos);
  EXPECT_EQ(five.find("oob_tcp"), std::string::npos);
}

TEST(Mpirun, WhatDevicesAreToldIsToldOnEveryHost) {
  const std::vector<const char*> names{"TRIREME_STEP_READS", "TRIREME_PAIR_TILE", "TRIREME_TRAINING_GRAPHS",
                                       "NCCL_SOCKET_IFNAME", "CUDA_VISIBLE_DEVICES"};
  for (const char* name : names) ::setenv(name, "1", 1);
  LaunchPlan plan;
  plan.hosts = {{"a", 1}, {"b", 1}};
  std::string command;
  for (const auto& word : mpirun_command(plan, parse_mpirun_version("mpirun (Open MPI) 4.1.4")))
    command += word + "|";
  for (const char* name : names) {
    ::unsetenv(name);
    int times = 0;
    for (auto at = command.find(name); at != std::string::npos; at = command.find(name, at + 1)) ++times;
    EXPECT_EQ(times, name == std::string("CUDA_VISIBLE_DEVICES") ? 0 : 3) << name << ": " << command;
  }
}

TEST(Doctor, MissingThingsHaveAdviceAndDecideTheExitCode) {
  std::ostringstream out;
  EXPECT_EQ(
      print_checks({{Check::State::kGood, "a", "1", ""}, {Check::State::kNote, "b", "none", "install b"}},
                   false, out),
      0);
  EXPECT_NE(out.str().find("-> install b"), std::string::npos);
  EXPECT_EQ(print_checks({{Check::State::kMissing, "c", "none", "install c"}}, true, out), 1);
  for (const Check& check : run_checks({"/no/such/mpirun", "."})) {
    EXPECT_FALSE(check.found.empty()) << check.name;
    if (check.state == Check::State::kMissing) {
      EXPECT_FALSE(check.advice.empty()) << check.name;
    }
  }
}

}  // namespace
}  // namespace trireme::coordinator::cli

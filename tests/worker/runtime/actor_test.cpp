// The actor over local mailboxes, with the test as coordinator and fake stages. Time that decides (silence,
// heartbeats) is a manual clock; waiting for a thread is a poll with a generous end.
#include <filesystem>
#include <latch>
#include <new>

#include <gtest/gtest.h>
#include <unistd.h>

#include <ATen/ATen.h>

#include "common/io/file.h"
#include "common/mailbox/local/local_mailbox.h"
#include "jobs/protocol/device_lost.h"
#include "tests/support/eventually.h"
#include "worker/collective/group.h"
#include "worker/runtime/actor.h"

namespace trireme::worker::runtime {
namespace {
namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using trireme::testing::eventually;

class FakeStage : public Stage {
 public:
  using Body = std::function<jobs::TaskDone(const jobs::Task&, TaskContext&)>;
  explicit FakeStage(Body body) : body_(std::move(body)) {}
  jobs::TaskDone run(const jobs::Task& task, TaskContext& context) override { return body_(task, context); }

 private:
  Body body_;
};

class Actor : public ::testing::Test {
 protected:
  ~Actor() override {
    if (worker_.joinable()) leave();
    fs::remove_all(folder_);
  }

  void stage(jobs::TaskKind kind, FakeStage::Body body) {
    stages_[kind] = std::make_unique<FakeStage>(std::move(body));
  }

  void start(std::uint64_t run = 0, std::uint64_t incarnation = 0) {
    worker_ = std::thread([this, run, incarnation] {
      ControlOptions options;
      options.clock = &clock_;
      options.mailbox = boxes_[1].get();
      options.hello.host = "here";
      options.run = run;
      options.incarnation = {incarnation};
      options.fence = [this] { fenced_ = true; };
      Control control(options);
      ActorOptions actor;
      actor.clock = &clock_;
      actor.why_device = "no driver";
      lost_ = run_actor(control, stages_, actor);
      refused_ = control.refused();
    });
    EXPECT_EQ(expect<jobs::Hello>().host, "here");
  }
  void welcome() { say(jobs::Welcome{"run-1", "job", 0.5, 10}); }

  void say(const jobs::Message& message, std::uint64_t incarnation = 3) {
    boxes_[0]->send(1, jobs::encode({jobs::run_key("run-1"), {incarnation}, message}));
  }
  void assign(std::uint64_t lease, jobs::TaskKind kind, const std::string& output = "") {
    jobs::Task task;
    task.lease = {lease};
    task.kind = kind;
    task.stage = "stage-" + std::to_string(lease);
    task.address = "address";
    task.output = output;
    say(jobs::Assign{task});
  }
  void leave() {
    say(jobs::Leave{});
    worker_.join();
  }

  // The worker's next message of type T; others are skipped.
  template <class T>
  T expect() {
    const auto end = steady_clock::now() + std::chrono::seconds(20);
    while (steady_clock::now() < end) {
      const auto mail = boxes_[0]->poll();
      if (!mail) {
        std::this_thread::yield();
        continue;
      }
      envelope_ = jobs::decode(mail->bytes);
      if (const T* wanted = std::get_if<T>(&envelope_.message)) return *wanted;
    }
    ADD_FAILURE() << "the worker did not say what was expected";
    return T{};
  }

  fs::path folder_ = fs::temp_directory_path() / ("trireme-actor-" + std::to_string(::getpid()));
  ManualClock clock_;
  std::vector<std::unique_ptr<Mailbox>> boxes_ = make_local_mailboxes(2);
  Stages stages_;
  std::thread worker_;
  std::atomic<bool> fenced_{false};
  std::uint64_t refused_ = 0;
  std::string lost_;
  jobs::Envelope envelope_;
};

TEST_F(Actor, LearnsRunAndIncarnationFromItsWelcome) {
  stage(jobs::TaskKind::kFilter, [](const auto&, auto&) {
    jobs::TaskDone done;
    done.counts["in"] = 5;
    return done;
  });
  start();
  EXPECT_EQ(envelope_.incarnation.value, 0U);
  welcome();
  assign(11, jobs::TaskKind::kFilter);
  const auto done = expect<jobs::TaskDone>();
  EXPECT_EQ(done.lease.value, 11U);
  EXPECT_EQ(done.counts.at("in"), 5);
  EXPECT_EQ(envelope_.incarnation.value, 3U);
  EXPECT_EQ(envelope_.run, jobs::run_key("run-1"));
  leave();
  EXPECT_EQ(refused_, 0U);
}

TEST_F(Actor, ForeignMessagesAreRefusedAndCounted) {
  std::atomic<int> runs{0};
  stage(jobs::TaskKind::kFilter, [&](const auto&, auto&) { return ++runs, jobs::TaskDone{}; });
  start(jobs::run_key("run-1"), 3);
  assign(1, jobs::TaskKind::kFilter);                                                // before the welcome
  say(jobs::Welcome{"run-1", "job", 0.5, 10}, 2);                                    // old incarnation
  boxes_[0]->send(1, jobs::encode({jobs::run_key("other"), {3}, jobs::Welcome{}}));  // other run
  boxes_[0]->send(1, "noise");
  welcome();
  say(jobs::TaskDone{});  // not for a worker
  assign(2, jobs::TaskKind::kFilter);
  assign(2, jobs::TaskKind::kFilter);                                              // twice
  boxes_[1]->send(1, jobs::encode({jobs::run_key("run-1"), {3}, jobs::Leave{}}));  // not the coordinator
  EXPECT_EQ(expect<jobs::TaskDone>().lease.value, 2U);
  assign(3, jobs::TaskKind::kFilter);
  EXPECT_EQ(expect<jobs::TaskDone>().lease.value, 3U);
  leave();
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(refused_, 7U);
}

TEST_F(Actor, CancelReachesTheTaskInHandWithinASecond) {
  std::atomic<bool> running{false};
  stage(jobs::TaskKind::kEmbed, [&](const auto&, TaskContext& context) -> jobs::TaskDone {
    running = true;
    eventually([&] { return context.stop->stop_now(); });
    context.stop->throw_if_stopped();
    return {};
  });
  start();
  welcome();
  assign(1, jobs::TaskKind::kEmbed);
  assign(2, jobs::TaskKind::kEmbed);
  while (!running) std::this_thread::yield();
  say(jobs::Cancel{{2}, false, "later task"});  // before it starts
  say(jobs::Cancel{{9}, false, "nobody's"});
  const auto asked = steady_clock::now();
  say(jobs::Cancel{{1}, false, "test"});
  EXPECT_EQ(expect<jobs::TaskFailed>().kind, ErrorKind::kCancelled);
  EXPECT_LT(steady_clock::now() - asked, std::chrono::seconds(1));
  const auto second = expect<jobs::TaskFailed>();
  EXPECT_EQ(second.lease.value, 2U);
  EXPECT_EQ(second.kind, ErrorKind::kCancelled);
}

TEST_F(Actor, CheckpointFirstIsNotStop) {
  stage(jobs::TaskKind::kTrain, [&](const auto&, TaskContext& context) {
    EXPECT_TRUE(eventually([&] { return context.stop->checkpoint_first(); }));
    context.stop->throw_if_stopped();
    EXPECT_EQ(context.last_committed_checkpoint(), -1);
    jobs::CheckpointWritten written;
    written.step = 40;
    context.checkpoint_written(written);
    EXPECT_TRUE(eventually([&] { return context.last_committed_checkpoint() == 40; }));
    jobs::StepReport step;
    step.step = 41;
    step.evaluation = "{}";
    context.report_step(step);
    return jobs::TaskDone{};
  });
  start();
  welcome();
  assign(5, jobs::TaskKind::kTrain);
  say(jobs::Cancel{{5}, true, "stop softly"});
  EXPECT_EQ(expect<jobs::CheckpointWritten>().lease.value, 5U);
  say(jobs::CheckpointCommitted{{5}, 40});
  EXPECT_EQ(expect<jobs::StepReport>().lease.value, 5U);
  expect<jobs::TaskDone>();
}

TEST_F(Actor, ErrorsAreAnswersNotDeaths) {
  struct Case {
    FakeStage::Body body;
    ErrorKind kind;
    bool retryable;
    const char* text;
  };
  const std::vector<Case> cases{
      {[](const auto&, auto&) -> jobs::TaskDone { throw Error(ErrorKind::kDamaged, "shard-7.tar: cut off"); },
       ErrorKind::kDamaged, false, "shard-7.tar"},
      {[](const auto&, auto&) -> jobs::TaskDone { throw Error(ErrorKind::kTryAgain, "peer lost"); },
       ErrorKind::kTryAgain, true, "peer lost"},
      {[](const auto&, auto&) -> jobs::TaskDone { throw std::bad_alloc(); }, ErrorKind::kTryAgain, true,
       "out of memory"},
      {[](const auto&, auto&) -> jobs::TaskDone { throw std::runtime_error("oops"); }, ErrorKind::kInternal,
       false, "oops"},
      {[](const auto&, auto&) -> jobs::TaskDone {
         throw fs::filesystem_error("write", std::error_code(ENOSPC, std::generic_category()));
       },
       ErrorKind::kDiskFull, false, "write"},
      {[](const auto&, auto&) -> jobs::TaskDone {
         at::empty({std::int64_t{1} << 50});
         return {};
       },
       ErrorKind::kTryAgain, true, "out of memory"},
      {[](const auto&, auto&) -> jobs::TaskDone { throw 7; }, ErrorKind::kInternal, false, "unknown"},
  };
  std::size_t next = 0;
  stage(jobs::TaskKind::kIndex,
        [&](const auto& task, auto& context) { return cases[next].body(task, context); });
  start();
  welcome();
  for (; next < cases.size(); ++next) {
    assign(next + 1, jobs::TaskKind::kIndex);
    const auto failure = expect<jobs::TaskFailed>();
    EXPECT_EQ(failure.kind, cases[next].kind) << next;
    EXPECT_EQ(failure.retryable, cases[next].retryable) << next;
    EXPECT_NE(failure.message.find(cases[next].text), std::string::npos) << failure.message;
  }
  assign(100, jobs::TaskKind::kEvaluate);  // no such stage here
  EXPECT_EQ(expect<jobs::TaskFailed>().kind, ErrorKind::kInvalid);
}

TEST_F(Actor, ATaskThatWantsAGpuIsRefusedByNameWhereThereIsNone) {
  std::string device;
  stage(jobs::TaskKind::kFilter, [&](const auto&, TaskContext& context) {
    device = context.device;
    return jobs::TaskDone{};
  });
  start();
  welcome();
  jobs::Task task;
  task.lease = {1};
  task.kind = jobs::TaskKind::kFilter;
  task.device = jobs::DevicePolicy::kCuda;
  say(jobs::Assign{task});
  const auto failed = expect<jobs::TaskFailed>();
  EXPECT_EQ(failed.kind, ErrorKind::kInvalid);
  EXPECT_FALSE(failed.retryable);
  EXPECT_NE(failed.message.find("this worker has no GPU: no driver"), std::string::npos) << failed.message;
  task.lease = {2};
  task.device = jobs::DevicePolicy::kCpu;
  say(jobs::Assign{task});
  EXPECT_EQ(expect<jobs::TaskDone>().lease.value, 2U);
  leave();
  EXPECT_EQ(device, "cpu");
}

// Its process stays for the others' sake, and computes nothing more.
TEST_F(Actor, AGpuThatIsLostGivesItsTaskBackAndTakesNoOther) {
  std::atomic<int> runs{0};
  stage(jobs::TaskKind::kFilter, [&](const auto&, auto&) -> jobs::TaskDone {
    ++runs;
    TORCH_CHECK(false, "CUDA error: unspecified launch failure");
  });
  start();
  welcome();
  assign(1, jobs::TaskKind::kFilter);
  auto lost = expect<jobs::TaskFailed>();
  EXPECT_TRUE(jobs::is_device_lost(lost));
  EXPECT_EQ(lost.lease.value, 1U);
  EXPECT_NE(lost.message.find("unspecified launch failure"), std::string::npos) << lost.message;
  assign(2, jobs::TaskKind::kFilter);
  lost = expect<jobs::TaskFailed>();
  EXPECT_TRUE(jobs::is_device_lost(lost));
  EXPECT_EQ(lost.lease.value, 2U);
  EXPECT_EQ(runs, 1);
  leave();
  EXPECT_EQ(lost_, lost.message);
}

// What a group's watching thread met comes as an error of ours.
TEST_F(Actor, WhatTheGroupSaysOfTheDeviceCountsAndWhatItSaysOfAPeerDoesNot) {
  std::string said;
  stage(jobs::TaskKind::kFilter,
        [&](const auto&, auto&) -> jobs::TaskDone { throw Error(ErrorKind::kTryAgain, said); });
  start();
  welcome();
  said = "all_reduce_sum at rank 1 (nccl): NCCL: remote process exited or there was a network error";
  assign(1, jobs::TaskKind::kFilter);
  auto failure = expect<jobs::TaskFailed>();
  EXPECT_EQ(failure.kind, ErrorKind::kTryAgain);
  EXPECT_TRUE(failure.retryable) << "the gang rolls back, and this worker with it";
  said = "all_reduce_sum at rank 1 (nccl): CUDA: CUDA error: invalid argument";
  assign(2, jobs::TaskKind::kFilter);
  failure = expect<jobs::TaskFailed>();
  EXPECT_EQ(failure.kind, ErrorKind::kInternal);
  EXPECT_FALSE(failure.retryable) << "the same on every device";
  said = "all_reduce_sum at rank 1 (nccl): NCCL: unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
  assign(3, jobs::TaskKind::kFilter);
  EXPECT_TRUE(jobs::is_device_lost(expect<jobs::TaskFailed>()));
  leave();
  EXPECT_NE(lost_, "");
}

TEST_F(Actor, AnAssertionOnTheDeviceFailsTheJobAndTheWorkerTakesNoOther) {
  std::atomic<int> runs{0};
  stage(jobs::TaskKind::kFilter, [&](const auto&, auto&) -> jobs::TaskDone {
    ++runs;
    TORCH_CHECK(false, "CUDA error: device-side assert triggered");
  });
  start();
  welcome();
  assign(1, jobs::TaskKind::kFilter);
  const auto failure = expect<jobs::TaskFailed>();
  EXPECT_EQ(failure.kind, ErrorKind::kInternal);
  EXPECT_FALSE(failure.retryable);
  EXPECT_FALSE(jobs::is_device_lost(failure)) << "the next worker would fail likewise";
  assign(2, jobs::TaskKind::kFilter);
  EXPECT_TRUE(jobs::is_device_lost(expect<jobs::TaskFailed>()));
  EXPECT_EQ(runs, 1);
  leave();
}

// A file's name is no word of a device.
TEST_F(Actor, OnlyErrorsThatMayBeOfADeviceAreReadAsSuch) {
  stage(jobs::TaskKind::kFilter, [&](const auto&, auto&) -> jobs::TaskDone {
    throw Error(ErrorKind::kDamaged, "shards/CUDA error: unknown error.tar: cut off");
  });
  start();
  welcome();
  assign(1, jobs::TaskKind::kFilter);
  EXPECT_EQ(expect<jobs::TaskFailed>().kind, ErrorKind::kDamaged);
  leave();
  EXPECT_EQ(lost_, "");
}

TEST_F(Actor, AnEqualTaskIsAnsweredFromItsReceipt) {
  std::atomic<int> runs{0};
  stage(jobs::TaskKind::kInspect, [&](const jobs::Task& task, auto&) {
    ++runs;
    io::write_file_atomic(task.output + ".idx", "index");
    jobs::TaskDone done;
    done.outputs = {describe_output("", task.output + ".idx")};
    done.counts["in"] = 3;
    return done;
  });
  start();
  welcome();
  const std::string output = (folder_ / "address").string();
  assign(1, jobs::TaskKind::kInspect, output);
  EXPECT_FALSE(expect<jobs::TaskDone>().reused);
  assign(2, jobs::TaskKind::kInspect, output);
  const auto again = expect<jobs::TaskDone>();
  EXPECT_TRUE(again.reused);
  EXPECT_EQ(again.counts.at("in"), 3);
  EXPECT_EQ(again.lease.value, 2U);
  io::write_file_atomic(output + ".idx", "damage");
  assign(3, jobs::TaskKind::kInspect, output);
  EXPECT_FALSE(expect<jobs::TaskDone>().reused);
  EXPECT_EQ(runs, 2);
}

TEST_F(Actor, BeatsWithTheLeaseInHandAndItsProgress) {
  std::latch go(1);
  stage(jobs::TaskKind::kEmbed, [&](const auto&, TaskContext& context) {
    context.progress(3, 9);
    go.wait();
    return jobs::TaskDone{};
  });
  start();
  welcome();
  assign(8, jobs::TaskKind::kEmbed);
  jobs::Heartbeat beat;
  for (int i = 0; i < 1000 && (beat.lease.value != 8 || beat.done != 3); ++i) {
    clock_.advance(milliseconds(500));
    say(jobs::Ping{});
    beat = expect<jobs::Heartbeat>();
  }
  EXPECT_EQ(beat.done, 3);
  EXPECT_EQ(beat.total, 9);
  EXPECT_GT(beat.resident_bytes, 1U << 20);
  go.count_down();
  expect<jobs::TaskDone>();
  EXPECT_FALSE(fenced_);
}

TEST_F(Actor, SilenceFences) {
  start();
  welcome();
  clock_.advance(milliseconds(500));
  expect<jobs::Heartbeat>();  // the welcome was heard
  for (int i = 0; i < 2; ++i) {
    clock_.advance(milliseconds(4700));
    expect<jobs::Heartbeat>();  // of a round that saw the new time
  }
  EXPECT_FALSE(fenced_);
  clock_.advance(milliseconds(700));
  EXPECT_TRUE(eventually([&] { return fenced_.load(); }));
}
}  // namespace
}  // namespace trireme::worker::runtime

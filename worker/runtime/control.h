// The control thread of a worker: owns the mailbox, says Hello, waits for the Welcome, beats, passes
// assignments on to the actor, sets the stop request on Cancel, and sends what the actor and its stage
// report. Messages of another run, incarnation, sender or version, damaged ones and repeated leases are
// counted and ignored. All public calls are thread-safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "common/base/clock.h"
#include "common/mailbox/mailbox.h"
#include "jobs/protocol/house_rules.h"
#include "jobs/protocol/messages.h"
#include "worker/runtime/stage.h"
#include "worker/runtime/watchdog.h"

namespace trireme::worker::runtime {

struct ControlOptions {
  const Clock* clock = nullptr;
  Mailbox* mailbox = nullptr;             // the control thread's alone until it has ended
  telemetry::Metrics* metrics = nullptr;  // may be null
  jobs::Hello hello;
  std::uint64_t run = 0;    // 0: learnt from the Welcome
  Incarnation incarnation;  // 0: learnt from the Welcome
  double welcome_within_seconds = 120;
  std::function<void()> fence;             // see watchdog.h
  std::function<void()> welcomed = [] {};  // control thread: from here on the heartbeats tell that we live
};

class Control {
 public:
  explicit Control(ControlOptions options);
  ~Control();  // sends what waits (at most a second), then ends the thread
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  // The next task, or nullopt after Leave. Waits without limit: the watchdog ends a worker nobody speaks to.
  // From here to end_task heartbeats carry its lease, and a Cancel of it reaches stop(). No heartbeat without
  // the lease leaves before the answer.
  std::optional<jobs::Task> next_task();
  void end_task(jobs::Message answer);
  const StopRequest& stop() const { return stop_; }
  std::optional<jobs::HouseRules> rules() const;  // of the tasks to come; none: they go where they like

  void progress(std::int64_t done, std::int64_t total);
  void report(jobs::Message message, bool replaceable = false);

  std::int64_t last_committed_checkpoint() const { return committed_step_; }  // of the task in hand, or -1
  Incarnation incarnation() const { return Incarnation{incarnation_}; }
  std::uint64_t refused() const { return refused_; }

 private:
  void run();
  void receive(const Mail& mail);
  void refuse(const char* reason);
  void take(const jobs::HouseRules& rules);
  bool welcomed(const jobs::Envelope& envelope);
  void handle(const jobs::Welcome& welcome);
  void handle(const jobs::Assign& assign);
  void handle(const jobs::Cancel& cancel);
  void handle(const jobs::CheckpointCommitted& committed);
  void handle(const jobs::Ping&) {}
  void handle(const jobs::Leave&);
  template <class Other>
  void handle(const Other&);
  std::chrono::nanoseconds beat_if_due();  // until the next
  bool send_waiting();                     // whether anything was
  void send(const jobs::Message& message, bool replaceable);
  void apply(const jobs::Cancel& cancel);

  ControlOptions options_;
  Watchdog watchdog_;
  std::atomic<std::uint64_t> run_id_, incarnation_, refused_{0};
  bool welcomed_ = false;
  double beat_every_seconds_ = 0.5;
  SteadyTime last_beat_;
  std::uint64_t beats_ = 0;

  mutable std::mutex mutex_;  // of the members down to stop_
  std::optional<jobs::HouseRules> rules_;
  std::condition_variable changed_;
  std::deque<jobs::Task> tasks_;
  std::map<std::uint64_t, jobs::Cancel> cancelled_;  // leases still in tasks_
  std::set<std::uint64_t> seen_;
  std::deque<std::pair<jobs::Message, bool>> outbox_;
  LeaseId lease_;
  bool leaving_ = false;

  StopRequest stop_;
  std::atomic<std::int64_t> done_{0}, total_{0}, committed_step_{-1};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace trireme::worker::runtime

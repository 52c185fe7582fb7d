// The control thread: owns the mailbox, stamps what arrives, checks run and incarnation, sends what the state
// thread decided, and pings the workers while the state thread is alive, so that a hung ledger disk fences
// the run (RELIABILITY 8.1). Public functions are thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "common/base/clock.h"
#include "common/mailbox/mailbox.h"
#include "jobs/protocol/messages.h"

namespace trireme::coordinator::service {

struct Arrival {
  Rank from = 0;
  jobs::Message message;
  SteadyTime at{};
};

struct ControlOptions {
  std::uint64_t run_key = 0;
  Incarnation incarnation;
  std::chrono::nanoseconds heartbeat{}, dead{};
  const Clock* clock = nullptr;
  std::string rules;  // encode_rules(), sent before each Welcome; "": none
};

class Control {
 public:
  // Both are called on the control thread and must not block. `refused`: "decode", "run", "incarnation",
  // "direction".
  using Deliver = std::function<void(std::vector<Arrival>)>;
  using Refuse = std::function<void(const std::string& reason)>;
  Control(std::unique_ptr<Mailbox> mailbox, ControlOptions options, Deliver deliver, Refuse refused);
  ~Control();  // stops the thread; mail that has not left is dropped
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  void send(Rank to, const jobs::Message& message);
  void state_thread_alive() { alive_ = options_.clock->now().time_since_epoch().count(); }
  void change_heartbeat(std::chrono::nanoseconds heartbeat) { heartbeat_ = heartbeat.count(); }
  // Waits until everything has left; false after `patience`.
  bool flush(std::chrono::milliseconds patience);
  int workers() const { return workers_; }

 private:
  void loop();
  bool send_queued();
  bool receive();
  std::chrono::nanoseconds ping_when_due();  // until the next
  bool acceptable(const Mail& mail, const jobs::Envelope& envelope);

  std::unique_ptr<Mailbox> mailbox_;
  ControlOptions options_;
  Deliver deliver_;
  Refuse refused_;
  int workers_ = 0;
  std::mutex mutex_;
  std::deque<std::pair<Rank, std::string>> outgoing_;
  std::set<Rank> greeted_;
  std::atomic<std::uint64_t> unsent_{0};
  std::atomic<std::int64_t> alive_{0}, heartbeat_{0};
  std::atomic<bool> stop_{false};
  SteadyTime pinged_{};
  std::thread thread_;
};

}  // namespace trireme::coordinator::service

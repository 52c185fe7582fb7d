#include "worker/runtime/control.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include <unistd.h>

#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/io/door.h"
#include "common/io/file.h"
#include "common/telemetry/metrics.h"

namespace trireme::worker::runtime {
namespace {
constexpr Rank kCoordinator = 0;
constexpr std::chrono::nanoseconds kLongestWait = std::chrono::seconds(1);  // all else rings or is a beat

std::uint64_t resident_bytes() {
  const io::Behind nothing(nullptr);  // no job's file
  std::istringstream statm(io::read_file("/proc/self/statm", 4096));
  std::uint64_t all = 0, resident = 0;
  statm >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

Control::Control(ControlOptions options)
    : options_(std::move(options)),
      watchdog_(*options_.clock, options_.welcome_within_seconds, options_.fence),
      run_id_(options_.run),
      incarnation_(options_.incarnation.value),
      last_beat_(options_.clock->now()),
      thread_([this] { run(); }) {}

Control::~Control() {
  ending_ = true;
  options_.mailbox->wake();
  thread_.join();
}

std::optional<jobs::Task> Control::next_task() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return leaving_ || !tasks_.empty(); });
  if (leaving_) return std::nullopt;
  jobs::Task task = std::move(tasks_.front());
  tasks_.pop_front();
  lease_ = task.lease;  // at once: a Cancel finds it here or in the queue
  done_ = total_ = 0;
  committed_step_ = -1;
  stop_.clear();
  if (const auto early = cancelled_.extract(lease_.value)) apply(early.mapped());
  return task;
}

void Control::end_task(jobs::Message answer) {
  {
    const std::lock_guard lock(mutex_);
    outbox_.emplace_back(std::move(answer), false);
    lease_ = {};
    stop_.clear();
  }
  options_.mailbox->wake();
}

void Control::progress(std::int64_t done, std::int64_t total) {
  done_ = done;
  total_ = total;
}

void Control::report(jobs::Message message, bool replaceable) {
  {
    const std::lock_guard lock(mutex_);
    outbox_.emplace_back(std::move(message), replaceable);
  }
  options_.mailbox->wake();
}

void Control::run() {
  send(options_.hello, false);
  const auto drained = [&] {
    const std::lock_guard lock(mutex_);
    return outbox_.empty() && options_.mailbox->unsent_bytes() == 0;
  };
  SteadyTime give_up{};
  while (!ending_ || (!drained() && std::chrono::steady_clock::now() < give_up)) {
    if (!ending_) give_up = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    bool busy = false;
    while (const auto mail = options_.mailbox->poll()) {
      busy = true;
      receive(*mail);
    }
    busy = send_waiting() || busy;
    const auto until_beat = beat_if_due();
    if (!busy) options_.mailbox->wait(std::clamp(until_beat, std::chrono::nanoseconds(0), kLongestWait));
  }
}

void Control::refuse(const char* reason) {
  ++refused_;
  log_warning("control", std::string("a message was refused: ") + reason);
  if (options_.metrics != nullptr)
    options_.metrics->count("trireme_control_rejected_total", 1, {{"reason", reason}});
}

void Control::receive(const Mail& mail) {
  if (mail.from != kCoordinator) return refuse("sender");
  jobs::Envelope envelope;
  try {
    if (const auto rules = jobs::decode_rules(mail.bytes)) return take(*rules);
    envelope = jobs::decode(mail.bytes);
  } catch (const Error& error) {
    log_warning("control", error.what());
    return refuse("damaged");
  }
  if (!welcomed(envelope)) return;
  watchdog_.heard();
  std::visit([this](const auto& message) { handle(message); }, envelope.message);
}

void Control::take(const jobs::HouseRules& rules) {
  if (run_id_ != 0 && rules.run != run_id_) return refuse("run");
  if (incarnation_ != 0 && rules.incarnation != incarnation_) return refuse("incarnation");
  const std::lock_guard lock(mutex_);
  rules_ = rules;
}

std::optional<jobs::HouseRules> Control::rules() const {
  const std::lock_guard lock(mutex_);
  return rules_;
}

// Whether the message counts: of this run and incarnation, and none before the Welcome.
bool Control::welcomed(const jobs::Envelope& envelope) {
  const auto* welcome = std::get_if<jobs::Welcome>(&envelope.message);
  if (!welcomed_ && welcome != nullptr) {
    if (run_id_ == 0) run_id_ = jobs::run_key(welcome->run_id);
    if (incarnation_ == 0) incarnation_ = envelope.incarnation.value;
  }
  if (envelope.run != run_id_) return refuse("run"), false;
  if (envelope.incarnation.value != incarnation_) return refuse("incarnation"), false;
  if (!welcomed_ && welcome == nullptr) return refuse("before_welcome"), false;
  return true;
}

void Control::handle(const jobs::Welcome& welcome) {
  if (!std::exchange(welcomed_, true)) options_.welcomed();
  beat_every_seconds_ = welcome.heartbeat_seconds;
  watchdog_.allow(welcome.fence_seconds);
}

void Control::handle(const jobs::Assign& assign) {
  {
    const std::lock_guard lock(mutex_);
    if (seen_.insert(assign.task.lease.value).second) {
      tasks_.push_back(assign.task);
      changed_.notify_all();
      return;
    }
  }
  refuse("duplicate");
}

void Control::apply(const jobs::Cancel& cancel) {
  log_info("control", "asked to stop: " + cancel.reason);
  if (cancel.checkpoint_first)
    stop_.checkpoint_and_stop();
  else
    stop_.stop();
}

void Control::handle(const jobs::Cancel& cancel) {
  const std::lock_guard lock(mutex_);
  if (cancel.lease == lease_) return apply(cancel);
  for (const auto& task : tasks_)
    if (task.lease == cancel.lease) cancelled_[cancel.lease.value] = cancel;
}

void Control::handle(const jobs::CheckpointCommitted& committed) {
  const std::lock_guard lock(mutex_);
  if (committed.lease == lease_) committed_step_ = committed.step;
}

void Control::handle(const jobs::Leave&) {
  const std::lock_guard lock(mutex_);
  leaving_ = true;
  stop_.stop();
  changed_.notify_all();
}

template <class Other>
void Control::handle(const Other&) {
  refuse("type");
}

std::chrono::nanoseconds Control::beat_if_due() {
  const std::chrono::nanoseconds every{static_cast<std::int64_t>(beat_every_seconds_ * 1e9)};
  const SteadyTime now = options_.clock->now();
  if (!welcomed_) return every;
  if (now - last_beat_ < every) return every - (now - last_beat_);
  LeaseId lease;
  {
    const std::lock_guard lock(mutex_);
    if (!outbox_.empty()) return std::chrono::nanoseconds(0);
    lease = lease_;
  }
  last_beat_ = now;
  const std::uint64_t resident = resident_bytes();
  if (options_.metrics != nullptr)
    options_.metrics->set("trireme_process_resident_bytes", static_cast<double>(resident));
  send(jobs::Heartbeat{++beats_, lease, done_, total_, resident}, true);
  return every;
}

bool Control::send_waiting() {
  for (bool sent = false;; sent = true) {
    std::pair<jobs::Message, bool> next;
    {
      const std::lock_guard lock(mutex_);
      if (outbox_.empty() || (!welcomed_ && !ending_)) return sent;
      next = std::move(outbox_.front());
      outbox_.pop_front();
    }
    send(next.first, next.second);
  }
}

void Control::send(const jobs::Message& message, bool replaceable) {
  const jobs::Envelope envelope{run_id_, Incarnation{incarnation_}, message};
  options_.mailbox->send(kCoordinator, jobs::encode(envelope), replaceable);
  if (fault_due("control.send_twice")) options_.mailbox->send(kCoordinator, jobs::encode(envelope));
  if (fault_due("control.old_incarnation"))
    options_.mailbox->send(kCoordinator, jobs::encode({run_id_, Incarnation{incarnation_ - 1}, message}));
}

}  // namespace trireme::worker::runtime

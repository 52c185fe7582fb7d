#include "coordinator/service/control.h"

#include <algorithm>
#include <variant>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"

namespace trireme::coordinator::service {
namespace {
constexpr std::chrono::nanoseconds kLongestWait = std::chrono::seconds(1);  // all else rings or is a beat

bool from_worker(const jobs::Message& message) {
  return std::holds_alternative<jobs::Hello>(message) || std::holds_alternative<jobs::Heartbeat>(message) ||
         std::holds_alternative<jobs::StepReport>(message) ||
         std::holds_alternative<jobs::TaskDone>(message) ||
         std::holds_alternative<jobs::TaskFailed>(message) ||
         std::holds_alternative<jobs::CheckpointWritten>(message);
}
}  // namespace

Control::Control(std::unique_ptr<Mailbox> mailbox, ControlOptions options, Deliver deliver, Refuse refused)
    : mailbox_(std::move(mailbox)),
      options_(options),
      deliver_(std::move(deliver)),
      refused_(std::move(refused)),
      workers_(mailbox_->size() - 1),
      heartbeat_(options.heartbeat.count()) {
  state_thread_alive();
  thread_ = std::thread([this] { loop(); });
}

Control::~Control() {
  stop_ = true;
  mailbox_->wake();
  thread_.join();
}

void Control::send(Rank to, const jobs::Message& message) {
  std::string bytes = jobs::encode({options_.run_key, options_.incarnation, message});
  {
    const std::lock_guard lock(mutex_);
    if (std::holds_alternative<jobs::Welcome>(message)) {
      greeted_.insert(to);
      if (!options_.rules.empty()) outgoing_.emplace_back(to, options_.rules);
    }
    outgoing_.emplace_back(to, std::move(bytes));
    ++unsent_;
  }
  mailbox_->wake();
}

bool Control::flush(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (unsent_ > 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return unsent_ == 0;
}

bool Control::acceptable(const Mail& mail, const jobs::Envelope& envelope) {
  // A worker learns run and incarnation from Welcome: only its Hello may come without them.
  const bool unknowing = std::holds_alternative<jobs::Hello>(envelope.message) && envelope.run == 0 &&
                         (envelope.incarnation.value == 0 || envelope.incarnation == options_.incarnation);
  std::string reason;
  if (mail.from < 1 || !from_worker(envelope.message))
    reason = "direction";
  else if (!unknowing && envelope.run != options_.run_key)
    reason = "run";
  else if (!unknowing && envelope.incarnation != options_.incarnation)
    reason = "incarnation";
  if (reason.empty()) return true;
  refused_(reason);
  return false;
}

bool Control::receive() {
  std::vector<Arrival> arrivals;
  while (auto mail = mailbox_->poll()) {
    try {
      jobs::Envelope envelope = jobs::decode(mail->bytes);
      if (acceptable(*mail, envelope))
        arrivals.push_back({mail->from, std::move(envelope.message), options_.clock->now()});
    } catch (const Error& error) {
      refused_("decode");
      log_warning("control", "mail from rank " + std::to_string(mail->from) + " refused: " + error.what());
    }
    if (arrivals.size() >= 1024) break;
  }
  if (arrivals.empty()) return false;
  deliver_(std::move(arrivals));
  return true;
}

bool Control::send_queued() {
  std::deque<std::pair<Rank, std::string>> batch;
  {
    const std::lock_guard lock(mutex_);
    batch.swap(outgoing_);
  }
  for (auto& [to, bytes] : batch) mailbox_->send(to, std::move(bytes));
  if (mailbox_->unsent_bytes() == 0) {
    const std::lock_guard lock(mutex_);
    if (outgoing_.empty()) unsent_ = 0;
  }
  return !batch.empty();
}

std::chrono::nanoseconds Control::ping_when_due() {
  const std::chrono::nanoseconds every(heartbeat_.load());
  const auto now = options_.clock->now();
  if (now - pinged_ < every) return every - (now - pinged_);
  if (now.time_since_epoch().count() - alive_ > options_.dead.count()) return every;
  pinged_ = now;
  const std::string ping = jobs::encode({options_.run_key, options_.incarnation, jobs::Ping{}});
  std::set<Rank> greeted;  // before the Welcome a worker cannot tell whose ping it is
  {
    const std::lock_guard lock(mutex_);
    greeted = greeted_;
  }
  for (const Rank rank : greeted) mailbox_->send(rank, ping, true);
  return every;
}

void Control::loop() {
  while (!stop_) {
    const bool received = receive();
    const bool sent = send_queued();
    const auto until_ping = ping_when_due();
    if (!received && !sent) mailbox_->wait(std::min(until_ping, kLongestWait));
  }
  send_queued();
}

}  // namespace trireme::coordinator::service

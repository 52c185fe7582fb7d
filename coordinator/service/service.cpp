#include "coordinator/service/service.h"

#include <cerrno>
#include <csignal>
#include <limits>
#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"
#include "coordinator/planner/listing.h"
#include "jobs/protocol/house_rules.h"

namespace trireme::coordinator::service {
namespace {
using namespace std::chrono_literals;
constexpr auto kTick = 20ms, kTickWithoutJob = 100ms;
constexpr auto kReviewEvery = 20ms;
constexpr auto kProgressEvery = 500ms;
constexpr auto kMetricsEvery = 1s;
constexpr auto kFlushPatience = 2000ms;
constexpr auto kLookAtDisk = 1s;
constexpr std::uint64_t kRoomToGoOn = 1U << 20;
}  // namespace

Service::Service(ServiceOptions options, RunFolder& folder, ledger::Ledger& ledger,
                 std::unique_ptr<Mailbox> mailbox, telemetry::Metrics& metrics, const Clock& clock)
    : options_(std::move(options)),
      folder_(folder),
      ledger_(ledger),
      metrics_(metrics),
      clock_(clock),
      limits_(fleet::limits_of(options_.job ? options_.job->spec.timeouts : options_.timeouts)),
      fleet_(mailbox->size() - 1, limits_, clock.now()),
      last_lease_(ledger.last_lease()),
      opened_(clock.now()),
      door_(options_.roots ? std::make_unique<io::Door>(*options_.roots) : nullptr),
      background_(door_.get()),
      jobs_(ledger, metrics, clock),
      checkpoints_({&ledger, &background_, &queue_, &metrics, &clock, folder.path()}),
      quarantine_(ledger, folder.path()),
      publisher_(ledger, background_, queue_) {
  if (!options_.list) options_.list = [](const jobs::JobSpec& job) { return planner::list_job(job); };
  const auto known = checkpoints_.known();
  for (const auto& [id, job] : jobs_.all()) {
    const auto newest = checkpoints::newest_manifest(job.spec.spec.output, known);
    if (newest.sequence > 0) ledger_.require_at_least(newest.sequence, newest.path);
  }
  for (const auto& row : ledger_.events("", 0, 2))
    afresh_ = afresh_ || row.event.kind == "LedgerStartedAfresh";
  folder_.remove_terminal();
  ControlOptions control{jobs::run_key(ledger_.run_id()),
                         folder_.incarnation(),
                         limits_.heartbeat,
                         limits_.dead,
                         &clock_,
                         rules_of_the_house()};
  control_ = std::make_unique<Control>(
      std::move(mailbox), control,
      [this](std::vector<Arrival> arrivals) {
        queue_.push([this, batch = std::move(arrivals)](Decision& decision) mutable {
          for (Arrival& arrival : batch) handle(arrival, decision);
        });
      },
      [this](const std::string& reason) {
        metrics_.count("trireme_control_rejected_total", 1, {{"reason", reason}});
      });
  metrics_.set("trireme_run_info", 1,
               {{"run_id", ledger_.run_id()}, {"incarnation", std::to_string(folder_.incarnation().value)}});
  metrics_.set("trireme_incarnation", static_cast<double>(folder_.incarnation().value));
  metrics_.set("trireme_ledger_replay_duration_seconds", ledger_.start_seconds());
}

std::string Service::rules_of_the_house() const {
  if (!options_.roots) return "";
  const auto texts = [](const std::vector<io::Path>& paths) {
    return std::vector<std::string>(paths.begin(), paths.end());
  };
  const io::Roots& roots = *options_.roots;
  return jobs::encode_rules({jobs::run_key(ledger_.run_id()), folder_.incarnation().value, texts(roots.read),
                             texts(roots.write), texts(roots.never)});
}

Service::~Service() {
  background_.finish();
  control_.reset();
}

Outcome Service::run() {
  Decision first;
  if (options_.job) jobs_.adopt(*options_.job, first);
  commit_and_act(first);
  ready_ = true;
  while (!outcome_) {
    auto events = queue_.take(more_to_grant_ ? 0ms : running() == nullptr ? kTickWithoutJob : kTick);
    more_to_grant_ = false;
    control_->state_thread_alive();
    Decision decision;
    for (Event& event : events) event(decision);
    if (!outcome_) tick(decision);  // a second signal in the same round has decided already
    commit_and_act(decision);
  }
  closed_ = true;
  ready_ = false;
  background_.finish();
  Decision last;
  for (Event& event : queue_.take(0ms)) event(last);  // what was finished counts; those who wait are answered
  try {
    if (!last.writes.empty()) ledger_.commit(last.writes);
  } catch (const Error& error) {
    log_error("service", std::string("the last results were not committed: ") + error.what());
    last = {};
  }
  for (const Outgoing& out : last.messages) control_->send(out.to, out.message);
  for (auto& act : last.after) act();
  control_->flush(kFlushPatience);
  return *outcome_;
}

void Service::stop_by_signal() {
  queue_.push([this](Decision& decision) {
    ++signals_;
    const bool job_runs = running() != nullptr && run_ != nullptr;
    if (signals_ == 1 && job_runs && !stopping_) {
      log_info("service", "signal: checkpoint and stop; a second signal leaves at once");
      return stop_running({ledger::JobState::kRecovering, 75, "stopped by signal", {}}, true, decision);
    }
    if (run_ != nullptr) run_->abandon("stopped by signal", decision);
    if (Job* job = running();
        job != nullptr && ledger::may_move(job->row.state, ledger::JobState::kRecovering))
      jobs_.move(*job, ledger::JobState::kRecovering, "stopped by signal", decision);
    leave({store::EndState::kStopped, "stopped by signal", false, 75}, !job_runs, decision);
  });
}

void Service::tick(Decision& decision) {
  const SteadyTime now = clock_.now();
  if (now - reviewed_ >= kReviewEvery) {
    reviewed_ = now;
    review_fleet(now, decision);
    watch_supervisor(now, decision);
    watch_disk(now, decision);
    if (outcome_) return;
    if (run_ != nullptr) run_->expire(now, decision);
  }
  settle(now, decision);
  if (outcome_) return;
  pick_next(decision);
  if (run_ != nullptr && !paused_ && !stopping_) {
    prepare_gangs();
    more_to_grant_ = run_->grant(now, decision);
    settle(now, decision);
  }
  write_progress(now);
}

void Service::review_fleet(SteadyTime now, Decision& decision) {
  std::string reason;
  for (const auto& verdict : fleet_.review(now)) {
    const std::string who = "worker " + std::to_string(verdict.rank);
    log_warning("fleet", who + " is " + std::string(name_of(verdict.state)) + ": " + verdict.reason);
    if (verdict.state != fleet::Liveness::kDead) continue;
    decision.event("WorkerLost", jobs_.running_id(),
                   payload({{"rank", verdict.rank}, {"why", verdict.reason}}));
    reason += (reason.empty() ? "" : ", ") + who + " lost (" + verdict.reason + ")";
  }
  if (reason.empty() && run_ != nullptr) reason = run_->stuck(now);
  if (!reason.empty()) end_incarnation(reason, decision);
}

// Under plain Open MPI a lost rank ends the whole incarnation: record it, and leave so that mpirun tears the
// rest down and the supervisor starts the next one.
void Service::end_incarnation(const std::string& reason, Decision& decision) {
  if (outcome_) return;
  log_error("service", reason + "; this incarnation ends");
  if (run_ != nullptr) run_->abandon(reason, decision);
  Job* job = running();
  if (job != nullptr && ledger::may_move(job->row.state, ledger::JobState::kRecovering))
    jobs_.move(*job, ledger::JobState::kRecovering, reason, decision);
  leave({store::EndState::kRestart, reason, true, 75}, false, decision);
}

// Grows with every start that was not in vain.
std::int64_t Service::progress_number(std::int64_t tasks) const {
  return checkpoints_.highest_step() + (run_ != nullptr ? run_->tasks_done() : tasks) + quarantine_.deaths();
}

// The terminal file after the commit, then the end of run().
void Service::leave(store::Terminal terminal, bool orderly, Decision& decision) {
  if (outcome_) return;
  // A worker that has not said hello yet would miss the Leave, and both would wait in MPI_Finalize for ever.
  for (const auto& member : fleet_.members()) orderly = orderly && member.state != fleet::Liveness::kAwaited;
  terminal.step = checkpoints_.resume_step();
  terminal.progress = progress_number(tasks_before_);
  outcome_ = Outcome{terminal.exit_code, orderly, terminal.reason};
  if (orderly)
    for (const auto& member : fleet_.members()) decision.send(member.rank, jobs::Leave{});
  decision.after.push_back([this, terminal] {
    try {
      folder_.write_terminal(terminal);
      if (terminal.state != store::EndState::kRestart)
        folder_.write_targets("[]");  // nothing is to be missed
    } catch (const Error& error) {
      log_error("service", error.what());
    }
  });
}

void Service::watch_supervisor(SteadyTime now, Decision& decision) {
  if (options_.supervisor_pid == 0) return;
  const bool gone = ::kill(options_.supervisor_pid, 0) != 0 && errno == ESRCH;
  if (!gone) {
    supervisor_gone_ = {};
  } else if (supervisor_gone_ == SteadyTime{}) {
    supervisor_gone_ = now;
    log_warning("service", "the supervisor is gone");
  } else if (now - supervisor_gone_ > limits_.fence) {
    end_incarnation("the supervisor is gone", decision);
  }
}

// Of the disks that the running job writes to, the fuller one.
std::uint64_t Service::room_of_job() {
  std::uint64_t room = std::numeric_limits<std::uint64_t>::max();
  const auto& spec = running()->spec.spec;
  for (const auto& place : {spec.output, spec.store, store::RunPaths{spec.output}.checkpoints().string()})
    if (!place.empty()) room = std::min(room, io::free_bytes(place));
  return room;
}

// What was written meanwhile is kept, nothing new is given away, and the job goes on by itself.
void Service::pause(const std::string& why, Decision& decision) {
  if (outcome_ || stopping_ || running() == nullptr) return;
  const std::uint64_t room = room_of_job();
  room_wanted_ = room + kRoomToGoOn;
  disk_looked_ = paused_at_ = clock_.now();
  const std::string cause = "the disk is full: " + why + "; " + std::to_string(room >> 10) +
                            " KiB are free, and it goes on when " + std::to_string(room_wanted_ >> 10) +
                            " are";
  log_error("service", cause);
  if (!paused_) decision.event("Paused", jobs_.running_id(), payload({{"why", cause}}));
  paused_ = true;
  Job& job = *running();
  if (job.row.state == ledger::JobState::kRunning)
    jobs_.move(job, ledger::JobState::kPaused, cause, decision);
}

// A full disk pauses grants; once there is room again, the reserve is taken back first. Room may also come by
// what a file system does not tell (a quota), so that a try is made once in a while.
void Service::watch_disk(SteadyTime now, Decision& decision) {
  if (run_ != nullptr)
    if (const std::string why = run_->take_disk_full(); !why.empty()) pause(why, decision);
  if (!paused_ || now - disk_looked_ < kLookAtDisk) return;
  disk_looked_ = now;
  if (!ledger_.restore_reserve()) return;
  const bool waits = room_wanted_ > 0 && running() != nullptr && !stopping_;
  if (waits && room_of_job() < room_wanted_ && now - paused_at_ < options_.try_disk_after) return;
  resume(decision);
}

void Service::resume(Decision& decision) {
  paused_ = false;
  room_wanted_ = 0;
  log_info("service", "there is room on the disk again");
  Job* job = running();
  decision.event("Resumed", jobs_.running_id(), "{}");
  if (job != nullptr && job->row.state == ledger::JobState::kPaused)
    jobs_.move(*job, ledger::JobState::kRunning, "there is room on the disk again", decision);
  if (job != nullptr && std::exchange(unplanned_, false)) look_and_plan(*job);
  for (const std::size_t stage : std::exchange(unpublished_, {})) publish(stage, decision);
}

void Service::commit_and_act(Decision& decision) {
  if (!decision.writes.empty()) {
    const auto begin = std::chrono::steady_clock::now();
    try {
      ledger_.commit(decision.writes);
    } catch (const Error& error) {
      metrics_.count("trireme_ledger_errors_total", 1, {{"code", std::string(name_of(error.kind()))}});
      if (error.kind() != ErrorKind::kDiskFull) throw;
      commit_in_reserve(decision);
    }
    metrics_.observe("trireme_ledger_commit_duration_seconds",
                     seconds(std::chrono::steady_clock::now() - begin));
  }
  for (const Outgoing& out : decision.messages) control_->send(out.to, out.message);
  for (auto& act : decision.after) act();
}

void Service::commit_in_reserve(Decision& decision) {
  log_error("service",
            "the disk of " + folder_.path().string() +
                " is full: nothing new is started until there is room; the ledger uses its reserve");
  paused_ = true;
  ledger_.release_reserve();
  decision.event("Paused", jobs_.running_id(), payload({{"why", "disk full"}}));
  Job* job = running();
  if (job != nullptr && job->row.state == ledger::JobState::kRunning)
    jobs_.move(*job, ledger::JobState::kPaused, "disk full", decision);
  for (;;) {
    try {
      return ledger_.commit(decision.writes);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDiskFull) throw;
    }
    control_->state_thread_alive();
    std::this_thread::sleep_for(200ms);
  }
}

void Service::write_progress(SteadyTime now) {
  if (now - metrics_written_ >= kMetricsEvery) {
    metrics_written_ = now;
    publish_metrics();
  }
  if (now - progress_written_ < kProgressEvery) return;
  progress_written_ = now;
  try {
    folder_.write_progress(jobs_.shown() == nullptr ? "null" : document_of(*jobs_.shown()),
                           ledger_.last_sequence(), progress_number(0));
  } catch (const Error& error) {
    log_warning("service", error.what());
  }
}

}  // namespace trireme::coordinator::service

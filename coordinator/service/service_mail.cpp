// What workers say: hellos, heartbeats, results, checkpoints.
#include <algorithm>
#include <memory>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/hash.h"
#include "coordinator/service/checkpoints.h"
#include "coordinator/service/service.h"

namespace trireme::coordinator::service {

void Service::handle(Arrival& arrival, Decision& decision) {
  if (!fleet_.known(arrival.from)) return;
  fleet_.heard(arrival.from, arrival.at);
  if (const auto* message = std::get_if<jobs::Hello>(&arrival.message))
    return hello(arrival, *message, decision);
  if (const auto* message = std::get_if<jobs::Heartbeat>(&arrival.message)) {
    if (run_ != nullptr) run_->heartbeat(arrival.from, *message, arrival.at);
    return fleet_.heartbeat(arrival.from, *message, arrival.at);
  }
  if (const auto* message = std::get_if<jobs::CheckpointWritten>(&arrival.message))
    return checkpoint_written(arrival, *message, decision);
  if (run_ == nullptr) {
    // A result after its job has ended: the worker is free again.
    if (!std::holds_alternative<jobs::StepReport>(arrival.message)) idle_.insert(arrival.from);
    return;
  }
  if (const auto* message = std::get_if<jobs::StepReport>(&arrival.message))
    run_->step(arrival.from, *message, arrival.at);
  if (const auto* message = std::get_if<jobs::TaskDone>(&arrival.message)) {
    const auto before = run_->tasks_done();
    run_->task_done(arrival.from, *message, arrival.at, decision);
    if (run_->tasks_done() != before) note_progress(decision);
  }
  if (const auto* message = std::get_if<jobs::TaskFailed>(&arrival.message))
    run_->task_failed(arrival.from, *message, decision);
}

void Service::hello(const Arrival& arrival, const jobs::Hello& hello, Decision& decision) {
  const bool fresh = fleet_.member(arrival.from).state == fleet::Liveness::kAwaited;
  fleet_.hello(arrival.from, hello, arrival.at);
  decision.send(arrival.from, jobs::Welcome{ledger_.run_id(), running_, seconds(limits_.heartbeat),
                                            seconds(limits_.fence)});
  if (!fresh) return;
  idle_.insert(arrival.from);
  decision.event("WorkerJoined", running_,
                 "{\"rank\":" + std::to_string(arrival.from) + ",\"pid\":" + std::to_string(hello.pid) +
                     ",\"cores\":" + std::to_string(hello.cores) + "}");
  log_info("fleet", "worker " + std::to_string(arrival.from) + " on " + hello.host + ": " +
                        std::to_string(hello.cores) + " cores, " + hello.device);
}

void Service::checkpoint_written(const Arrival& arrival, const jobs::CheckpointWritten& written, Decision&) {
  const scheduler::Lease* lease =
      run_ != nullptr ? run_->gang_of_checkpoint(written.lease, arrival.from) : nullptr;
  if (lease == nullptr) {
    metrics_.count("trireme_control_rejected_total", 1, {{"reason", "stale_lease"}});
    return;
  }
  run_->note_gang_progress(arrival.at);
  metrics_.observe("trireme_checkpoint_duration_seconds", written.stall_seconds, {{"part", "stall"}});
  metrics_.observe("trireme_checkpoint_duration_seconds", written.write_seconds, {{"part", "write"}});
  SealOrder order;
  order.run_id = ledger_.run_id();
  order.job = running_;
  order.stage = run_->graph().stages()[static_cast<std::size_t>(lease->task.stage)].name;
  order.address = lease->address;
  order.spec_hash = io::xxh3_64(running()->row.spec);
  order.ledger_sequence = ledger_.last_sequence();
  order.incarnation = folder_.incarnation().value;
  order.written = written;
  ++sealing_;
  background_->run([this, order = std::move(order)] {
    const auto begin = std::chrono::steady_clock::now();
    try {
      const ledger::CheckpointRow row = seal_checkpoint(order);
      metrics_.observe("trireme_checkpoint_duration_seconds",
                       seconds(std::chrono::steady_clock::now() - begin), {{"part", "verify"}});
      queue_.push([this, row, written = order.written](Decision& decision) {
        checkpoint_sealed(written.lease, written, row, decision);
      });
    } catch (const std::exception& failure) {
      const auto* error = dynamic_cast<const Error*>(&failure);
      metrics_.count(
          "trireme_checkpoint_failures_total", 1,
          {{"cause", std::string(name_of(error != nullptr ? error->kind() : ErrorKind::kInternal))}});
      log_error("service",
                std::string("a checkpoint was not committed, training goes on: ") + failure.what());
      queue_.push([this](Decision&) { --sealing_; });
    }
  });
}

void Service::put_checkpoint(const ledger::CheckpointRow& row, const std::string& event, Decision& decision) {
  const auto found = std::find_if(checkpoints_.begin(), checkpoints_.end(),
                                  [&](const auto& other) { return other.folder == row.folder; });
  if (found == checkpoints_.end())
    checkpoints_.push_back(row);
  else
    *found = row;
  decision.writes.push_back(row);
  decision.event(event, row.job, "{\"step\":" + std::to_string(row.step) + "}");
}

void Service::checkpoint_sealed(LeaseId lease, const jobs::CheckpointWritten& written,
                                const ledger::CheckpointRow& row, Decision& decision) {
  --sealing_;
  checkpoint_step_ = std::max(checkpoint_step_, row.step);
  resume_step_ = row.step;
  put_checkpoint(row, "CheckpointCommitted", decision);
  note_progress(decision);
  if (run_ != nullptr) {
    const scheduler::Lease* gang = nullptr;
    for (const auto& member : fleet_.members())
      if (gang == nullptr) gang = run_->gang_lease(lease, member.rank);
    if (gang != nullptr)
      for (const Rank rank : gang->workers)
        decision.send(rank, jobs::CheckpointCommitted{lease, written.step});
  }
  const Job* job = running();
  retire(superseded(checkpoints_, row, job != nullptr ? job->spec.spec.checkpoint.keep_last : 3), decision);
  metrics_.set("trireme_checkpoint_bytes", static_cast<double>(row.bytes));
  metrics_.set("trireme_checkpoint_last_step", static_cast<double>(row.step));
  metrics_.set("trireme_checkpoint_last_success_timestamp_seconds",
               std::chrono::duration<double>(clock_.wall().time_since_epoch()).count());
  decision.after.push_back([this] { ledger_.sync_mark(); });
}

// The rows first; the files go once that is durable.
void Service::retire(const std::vector<ledger::CheckpointRow>& rows, Decision& decision) {
  for (ledger::CheckpointRow row : rows) {
    row.state = "retired";
    put_checkpoint(row, "CheckpointRetired", decision);
    decision.after.push_back([this, folder = row.folder] {
      background_->run([folder] {
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
      });
    });
  }
}

// What a gang resumes from is verified before it starts: its newest committed checkpoint whose files are
// whole.
void Service::prepare_gangs() {
  if (sealing_ > 0) return;
  for (const auto& ref : run_->take_unprepared_gangs()) {
    const jobs::Task* task = nullptr;
    try {
      task = &run_->gang_task(ref);
    } catch (const Error& error) {
      return run_->fail(error.kind(), error.what());
    }
    const auto candidates = resumable(checkpoints_, task->checkpoint_folder, task->address);
    background_->run([this, ref, candidates, rows = checkpoints_,
                      folder = io::Path(task->checkpoint_folder)] {
      std::error_code ignored;
      for (const auto& path : unreferenced(folder, rows)) std::filesystem::remove_all(path, ignored);
      std::vector<ledger::CheckpointRow> bad;
      std::string resume_from;
      for (const auto& row : candidates) {
        const std::string fault = checkpoint_fault(row);
        if (fault.empty()) {
          resume_from = row.folder;
          break;
        }
        log_error("service", "checkpoint of step " + std::to_string(row.step) + " cannot be used: " + fault);
        bad.push_back(row);
      }
      queue_.push([this, ref, bad, resume_from, any = !candidates.empty()](Decision& decision) {
        gang_found(ref, bad, resume_from, any, decision);
      });
    });
  }
}

void Service::gang_found(const planner::TaskRef& ref, const std::vector<ledger::CheckpointRow>& bad,
                         const std::string& resume_from, bool any, Decision& decision) {
  if (run_ == nullptr) return;
  for (ledger::CheckpointRow row : bad) {
    row.state = "bad";
    put_checkpoint(row, "CheckpointBad", decision);
  }
  if (any && resume_from.empty())
    return run_->fail(ErrorKind::kDamaged, "no checkpoint of stage " +
                                               run_->graph().stages()[ref.stage].name +
                                               " can be used: " + checkpoint_fault(bad.front()) +
                                               "; start the job again to train from the beginning");
  const jobs::Task& task = run_->gang_task(ref);
  resume_step_ = 0;
  std::vector<ledger::CheckpointRow> foreign;
  for (const auto& row : checkpoints_) {
    if (row.state != "committed" || io::Path(row.folder).parent_path() != io::Path(task.checkpoint_folder))
      continue;
    if (row.address != task.address) foreign.push_back(row);
    if (row.folder == resume_from) {
      checkpoint_step_ = std::max(checkpoint_step_, row.step);
      resume_step_ = row.step;
      log_info("service", "resuming at step " + std::to_string(row.step));
    }
  }
  retire(foreign, decision);
  run_->gang_prepared(ref, resume_from);
}

}  // namespace trireme::coordinator::service

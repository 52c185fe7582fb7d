// What workers say: hellos, heartbeats, results, checkpoints.
#include <algorithm>
#include <memory>

#include "common/base/error.h"
#include "common/base/log.h"
#include "coordinator/service/service.h"
#include "jobs/protocol/device_lost.h"
#include "jobs/protocol/hello_device.h"

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
  if (const auto* message = std::get_if<jobs::TaskFailed>(&arrival.message);
      message != nullptr && jobs::is_device_lost(*message))
    return retire(arrival.from, message->message, decision);
  if (run_ == nullptr) {
    // A result after its job has ended: the worker is free again.
    if (!std::holds_alternative<jobs::StepReport>(arrival.message) && fleet_.takes_tasks(arrival.from))
      idle_.insert(arrival.from);
    return;
  }
  if (const auto* message = std::get_if<jobs::StepReport>(&arrival.message))
    run_->step(arrival.from, *message, arrival.at);
  if (const auto* message = std::get_if<jobs::TaskDone>(&arrival.message)) {
    const auto before = run_->tasks_done();
    run_->task_done(arrival.from, *message, arrival.at, decision);
    if (run_->tasks_done() != before) jobs_.note_progress(decision);
  }
  if (const auto* message = std::get_if<jobs::TaskFailed>(&arrival.message))
    run_->task_failed(arrival.from, *message, decision);
}

void Service::hello(const Arrival& arrival, const jobs::Hello& hello, Decision& decision) {
  const bool fresh = fleet_.member(arrival.from).state == fleet::Liveness::kAwaited;
  fleet_.hello(arrival.from, hello, arrival.at);
  decision.send(arrival.from, jobs::Welcome{ledger_.run_id(), jobs_.running_id(), seconds(limits_.heartbeat),
                                            seconds(limits_.fence)});
  if (!fresh) return;
  idle_.insert(arrival.from);
  decision.event("WorkerJoined", jobs_.running_id(),
                 payload({{"rank", arrival.from}, {"pid", hello.pid}, {"cores", hello.cores}}));
  log_info("fleet", "worker " + std::to_string(arrival.from) + " on " + hello.host + ": " +
                        std::to_string(hello.cores) + " cores, " + hello.device);
  folder_.write_targets(metric_targets());
  retire_beside_gpus(decision);
}

// Among workers with GPUs one whose GPU does not work would set the pace of every gang, and compute other
// bits. Where no GPU works, all compute on the CPU.
void Service::retire_beside_gpus(Decision& decision) {
  const auto& members = fleet_.members();
  const auto has_gpu = [&](const fleet::Member& member) {
    return fleet_.takes_tasks(member.rank) && jobs::is_gpu(member.hello.device);
  };
  if (std::none_of(members.begin(), members.end(), has_gpu)) return;
  for (const auto& member : members)
    if (fleet_.takes_tasks(member.rank) && jobs::is_cpu_beside_gpu(member.hello.device))
      retire(member.rank, "among workers with GPUs it would compute on the " + member.hello.device, decision);
}

// Its process stays, as mpirun would end all others with it. What is left of the fleet goes on.
void Service::retire(Rank rank, const std::string& why, Decision& decision) {
  if (fleet_.member(rank).state == fleet::Liveness::kRetired) return;
  const std::string who = "worker " + std::to_string(rank) + " on " + fleet_.member(rank).hello.host;
  fleet_.retire(rank);
  idle_.erase(rank);
  log_error("fleet", who + " lost its device, and is left out until the next start: " + why);
  decision.event("WorkerLost", jobs_.running_id(), payload({{"rank", rank}, {"why", why}}));
  if (run_ != nullptr) run_->worker_retired(rank, why, decision);
  const auto& members = fleet_.members();
  if (std::none_of(members.begin(), members.end(),
                   [](const fleet::Member& member) { return member.state != fleet::Liveness::kRetired; }))
    end_incarnation("no worker has a device any more; the last: " + who + ": " + why, decision);
}

void Service::checkpoint_written(const Arrival& arrival, const jobs::CheckpointWritten& written, Decision&) {
  const scheduler::Lease* lease =
      run_ != nullptr ? run_->gang_of_checkpoint(written.lease, arrival.from) : nullptr;
  if (lease == nullptr) {
    metrics_.count("trireme_control_rejected_total", 1, {{"reason", "stale_lease"}});
    return;
  }
  run_->note_gang_progress(arrival.at);
  checkpoints::SealOrder order;
  order.run_id = ledger_.run_id();
  order.job = jobs_.running_id();
  order.stage = run_->graph().stages()[static_cast<std::size_t>(lease->task.stage)].name;
  order.address = lease->address;
  order.spec = running()->row.spec;
  order.ledger_sequence = ledger_.last_sequence();
  order.incarnation = folder_.incarnation().value;
  order.written = written;
  checkpoints_.seal(std::move(order), running()->spec.spec.checkpoint.keep_last,
                    [this, id = written.lease](const ledger::CheckpointRow* row, Decision& decision) {
                      checkpoint_sealed(id, row, decision);
                    });
}

void Service::checkpoint_sealed(LeaseId lease, const ledger::CheckpointRow* row, Decision& decision) {
  if (row == nullptr) return checkpoint_failed(decision);
  jobs_.note_progress(decision);
  if (run_ == nullptr) return;
  for (const auto& member : fleet_.members())
    if (const auto* gang = run_->gang_lease(lease, member.rank); gang != nullptr)
      for (const Rank rank : gang->workers) decision.send(rank, jobs::CheckpointCommitted{lease, row->step});
}

void Service::checkpoint_failed(Decision& decision) {
  if (run_ == nullptr) return;
  if (stopping_)  // a gang that stops would wait for it until the time is up
    return run_->stop(false, "its checkpoint could not be committed", decision);
  const Error* why = checkpoints_.hopeless(running()->spec.spec.checkpoint.fail_after_seconds);
  if (why == nullptr) return;
  const std::string what = std::string("no checkpoint can be committed: ") + why->what();
  if (why->kind() != ErrorKind::kDiskFull) return run_->fail(why->kind(), what);
  run_->interrupt_gang(what, decision);
  pause(what, decision);
}

// What a gang resumes from is verified before it starts.
void Service::prepare_gangs() {
  if (checkpoints_.sealing()) return;
  for (const auto& ref : run_->take_unprepared_gangs()) {
    try {
      const jobs::Task& task = run_->gang_task(ref);
      checkpoints_.find_start(task, running()->row.spec,
                              [this, ref](const CheckpointBook::Start& start, Decision& decision) {
                                gang_found(ref, start, decision);
                              });
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDiskFull) return run_->fail(error.kind(), error.what());
      run_->postpone_gang(ref, error.what());
    }
  }
}

void Service::gang_found(const planner::TaskRef& ref, const CheckpointBook::Start& start,
                         Decision& decision) {
  if (run_ == nullptr) return;
  if (!start.fault.empty())
    return run_->fail(start.kind,
                      "no checkpoint of stage " + run_->graph().stages()[ref.stage].name +
                          " can be used: " + start.fault +
                          "; put right what is wrong, or take them out with 'trireme checkpoints RUN "
                          "--remove …' to train from the beginning");
  checkpoints_.settle_others(run_->gang_task(ref), running()->spec.spec.checkpoint.keep_other_settings,
                             decision);
  run_->gang_prepared(ref, start.resume_from);
}

}  // namespace trireme::coordinator::service

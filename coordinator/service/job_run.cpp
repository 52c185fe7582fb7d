#include "coordinator/service/job_run.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"
#include "coordinator/ledger/result_json.h"

namespace trireme::coordinator::service {
namespace {

// Bounds the time of one decision; the rest goes with the next.
constexpr std::size_t kGrantsPerDecision = 64;

std::string rank_list(const std::vector<Rank>& ranks) {
  std::string text;
  for (const Rank rank : ranks) text += (text.empty() ? "" : ",") + std::to_string(rank);
  return text;
}

}  // namespace

scheduler::ReadyTask ready_task(const planner::TaskRef& ref, std::int64_t slots) {
  return {ref.stage, ref.phase, ref.data, ref.shard, ref.first, slots};
}

planner::TaskRef task_ref(const scheduler::ReadyTask& task) {
  return {static_cast<std::uint32_t>(task.stage), static_cast<std::uint32_t>(task.phase),
          static_cast<std::uint32_t>(task.data), task.shard, task.first};
}

JobRun::JobRun(const std::string& job, const jobs::JobSpec& spec, std::unique_ptr<planner::TaskGraph> graph,
               LeaseId last_lease, const fleet::Limits& limits, const RunWorld& world)
    : job_(job),
      spec_(spec),
      graph_(std::move(graph)),
      limits_(limits),
      world_(world),
      leases_(last_lease, limits.lease),
      durations_(limits.dead / 2),
      replayed_ready_(graph_->start()),  // from here on every task that is ready has its address
      leased_by_stage_(graph_->stages().size(), 0),
      timed_by_stage_(graph_->stages().size()),
      stage_committed_(graph_->stages().size(), false) {}

ledger::LeaseRow JobRun::row_of(const scheduler::Lease& lease, ledger::LeaseState state) const {
  ledger::LeaseRow row;
  row.lease = lease.id;
  row.job = job_;
  row.stage = lease.task.stage;
  row.task = planner::key_of(task_ref(lease.task));
  row.address = lease.address;
  row.workers = rank_list(lease.workers);
  row.incarnation = world_.incarnation.value;
  row.state = state;
  row.granted_ms = lease.granted_ms;
  return row;
}

void JobRun::replay(const ledger::LeaseRow& row, Decision& decision) {
  const planner::TaskRef ref = planner::task_ref_from_key(row.task);
  if (row.state == ledger::LeaseState::kFailed) ++failures_[ref];
  if (row.state == ledger::LeaseState::kGranted) {
    ledger::LeaseRow lost = row;
    lost.state = ledger::LeaseState::kLost;
    lost.why = "incarnation " + std::to_string(row.incarnation) + " ended";
    lost.ended_ms = milliseconds(world_.clock->wall());
    decision.event("LeaseLost", job_, payload({{"lease", row.lease.value}, {"why", lost.why}}));
    decision.writes.push_back(std::move(lost));
  }
  if (row.state != ledger::LeaseState::kDone) return;
  ++tasks_done_;  // progress, whatever becomes of it
  const std::string address = graph_->address_of(ref);
  if (address.empty())
    known_.insert_or_assign({ref, row.address}, ledger::result_from_json(row.result, row.lease));
  if (row.address != address) return;  // an input has changed since: to be done again
  replayed_done_.push_back(ref);
  const auto ready = completed(ref, ledger::result_from_json(row.result, row.lease));
  replayed_ready_.insert(replayed_ready_.end(), ready.begin(), ready.end());
}

std::vector<planner::TaskRef> JobRun::completed(const planner::TaskRef& ref, const jobs::TaskDone& done) {
  const io::Behind behind(world_.door);
  try {
    return graph_->complete(ref, done);
  } catch (const Error& error) {
    fail(error.kind(), error.what());
    return {};
  }
}

void JobRun::start(Decision&) {
  std::vector<planner::TaskRef> ready = std::exchange(replayed_ready_, {});
  std::sort(ready.begin(), ready.end());
  std::sort(replayed_done_.begin(), replayed_done_.end());
  std::vector<planner::TaskRef> open;
  std::set_difference(ready.begin(), ready.end(), replayed_done_.begin(), replayed_done_.end(),
                      std::back_inserter(open));
  replayed_done_ = {};
  started_ = true;
  make_ready(open);
  note_stages();
}

bool JobRun::note_stage(std::size_t stage) {
  if (stage_committed_[stage] || !graph_->progress(stage).committed) return false;
  stage_committed_[stage] = true;
  committed_stages_.push_back(stage);
  if (graph_->stages()[stage].kind == "inspect")
    for (const auto& data : graph_->data())
      if (graph_->stages()[stage].name == "inspect:" + data.name && !data.seen.empty())
        log_info("data",
                 "data set \"" + data.name + "\": " + std::to_string(data.usable) + " samples; " + data.seen);
  return true;
}

void JobRun::note_stages() {
  for (std::size_t stage = 0; stage < graph_->stages().size(); ++stage) note_stage(stage);
}

void JobRun::make_ready(std::vector<planner::TaskRef> refs) {
  bool done_before = false;
  while (!refs.empty()) {
    std::vector<planner::TaskRef> next;
    for (const auto& ref : refs) {
      if (const auto known = known_.extract({ref, graph_->address_of(ref)}); !known.empty()) {
        const auto ready = completed(ref, known.mapped());
        next.insert(next.end(), ready.begin(), ready.end());
        done_before = true;
      } else if (jobs::row_of(graph_->kind(ref)).extent == jobs::Extent::kGang) {
        unprepared_.push_back(ref);
      } else {
        scheduler_.add(ready_task(ref, 0));
      }
    }
    refs = std::move(next);
  }
  if (done_before) note_stages();
}

std::vector<planner::TaskRef> JobRun::take_unprepared_gangs() {
  if (!leaving_.empty()) return {};  // gang rank 0 may still have a checkpoint to report
  return std::exchange(unprepared_, {});
}

const jobs::Task& JobRun::gang_task(const planner::TaskRef& ref) {
  const io::Behind behind(world_.door);
  const auto found = gang_tasks_.find(ref);
  return found != gang_tasks_.end() ? found->second
                                    : gang_tasks_.emplace(ref, graph_->make_task(ref)).first->second;
}

void JobRun::gang_prepared(const planner::TaskRef& ref, const std::string& resume_from) {
  gang_tasks_.at(ref).resume_from = resume_from;
  scheduler_.add(ready_task(ref, graph_->gang_slots(ref)));
}

const scheduler::Lease* JobRun::gang_lease(LeaseId id, Rank rank) {
  const scheduler::Lease* lease = leases_.find(id);
  return lease != nullptr && lease->task.slots > 0 && lease->workers.front() == rank ? lease : nullptr;
}

const scheduler::Lease* JobRun::gang_of_checkpoint(LeaseId id, Rank rank) {
  if (const scheduler::Lease* lease = gang_lease(id, rank)) return lease;
  const auto ended = ended_gangs_.find(id);
  return ended != ended_gangs_.end() && ended->second.workers.front() == rank ? &ended->second : nullptr;
}

bool JobRun::grant(SteadyTime now, Decision& decision) {
  if (stopping_ || failure_) return false;
  std::vector<Rank> workers;
  for (const auto& member : world_.fleet->members())
    if (world_.fleet->takes_tasks(member.rank)) workers.push_back(member.rank);
  std::size_t given_away = 0;
  for (auto& given :
       scheduler_.grant(workers, *world_.idle, world_.fleet->everyone_here(), kGrantsPerDecision)) {
    given_away += give(given, now, decision) ? 1 : 0;
    if (failure_) return false;
  }
  give_twice(now, decision);
  return given_away == kGrantsPerDecision;
}

// False when its task cannot be made: it, or the job, waits or fails.
bool JobRun::give(const scheduler::Grant& given, SteadyTime now, Decision& decision) {
  const planner::TaskRef ref = task_ref(given.task);
  jobs::Task task;
  const io::Behind behind(world_.door);
  try {
    task = given.task.slots > 0 ? gang_task(ref) : graph_->make_task(ref);
  } catch (const Error& error) {
    world_.idle->insert(given.workers.begin(), given.workers.end());
    if (given.task.slots > 0) scheduler_.gang_ended();
    if (error.kind() != ErrorKind::kDiskFull) {
      fail(error.kind(), error.what());
      return false;
    }
    disk_full_ = error.what();
    if (leases_.of_task(given.task) == nullptr) scheduler_.add(given.task);  // each has to go back
    return false;
  }
  scheduler::Lease& lease = leases_.grant(given, now);
  lease.address = task.address;
  lease.granted_ms = milliseconds(world_.clock->wall());
  granted_ = true;
  if (leases_.twin_of(lease) == nullptr) ++leased_by_stage_[static_cast<std::size_t>(given.task.stage)];
  task.lease = lease.id;
  if (given.task.slots > 0) {
    task.members = given.workers;
    training_stage_ = given.task.stage;
    watch_.emplace(limits_.step);
  }
  ledger::LeaseRow row = row_of(lease, ledger::LeaseState::kGranted);
  decision.event("LeaseGranted", job_,
                 payload({{"lease", lease.id.value}, {"task", row.task}, {"workers", row.workers}}));
  decision.writes.push_back(std::move(row));
  for (const Rank rank : given.workers) decision.send(rank, jobs::Assign{task});
  return true;
}

void JobRun::release(Rank rank) {
  leaving_.erase(rank);
  if (leases_.of_worker(rank) == nullptr && world_.fleet->takes_tasks(rank)) world_.idle->insert(rank);
}

void JobRun::end_lease(scheduler::Lease& lease, Rank reporter, ledger::LeaseState state,
                       const std::string& why, const std::string& result, Decision& decision) {
  ledger::LeaseRow row = row_of(lease, state);
  row.why = why;
  row.result = result;
  row.ended_ms = milliseconds(world_.clock->wall());
  const std::string kind = state == ledger::LeaseState::kDone     ? "LeaseDone"
                           : state == ledger::LeaseState::kFailed ? "LeaseFailed"
                                                                  : "LeaseLost";
  decision.event(kind, job_, payload({{"lease", lease.id.value}, {"task", row.task}}));
  decision.writes.push_back(std::move(row));
  const auto stage = static_cast<std::size_t>(lease.task.stage);
  if (leases_.twin_of(lease) == nullptr) --leased_by_stage_[stage];
  count_attempt(stage, std::string(name_of(state)));
  if (world_.metrics != nullptr && state == ledger::LeaseState::kDone)
    world_.metrics->observe("trireme_shard_duration_seconds", seconds(world_.clock->now() - lease.granted),
                            {{"stage", graph_->stages()[stage].name}});
  const bool gang = lease.task.slots > 0;
  const LeaseId id = lease.id;
  const auto workers = lease.workers;
  if (gang) ended_gangs_.emplace(id, lease);
  const std::set<Rank> early = early_.contains(id) ? early_.extract(id).mapped() : std::set<Rank>{};
  leases_.end(id);
  if (gang) {
    scheduler_.gang_ended();
    watch_.reset();
  }
  for (const Rank rank : workers) {
    if (rank == reporter || early.contains(rank)) {
      release(rank);
    } else {
      leaving_[rank] = {id, world_.clock->now()};
      if (state != ledger::LeaseState::kDone) decision.send(rank, jobs::Cancel{id, false, why});
    }
  }
}

void JobRun::task_done(Rank rank, const jobs::TaskDone& done, SteadyTime now, Decision& decision) {
  scheduler::Lease* lease = leases_.find(done.lease);
  if (lease == nullptr) return release(rank);  // late: its lease was given away, or a gang's other member
  if (lease->workers.front() != rank) {
    if (leases_.extend(done.lease, rank, now)) early_[done.lease].insert(rank);
    return;
  }
  note_speed(rank, *lease, done);
  const planner::TaskRef ref = task_ref(lease->task);
  if (scheduler::Lease* twin = leases_.twin_of(*lease))
    end_lease(*twin, 0, ledger::LeaseState::kLost, "worker " + std::to_string(rank) + " was faster", "",
              decision);
  else if (lease->task.slots == 0 && !done.reused)
    durations_.note(lease->task, now - lease->granted);
  end_lease(*lease, rank, ledger::LeaseState::kDone, "", ledger::result_json(done), decision);
  gang_tasks_.erase(ref);
  warn_of_damage(ref, done);
  ++tasks_done_;
  make_ready(completed(ref, done));
  // The end of one stage can be that of others: the last shard inspected may hold nothing for them to do.
  if (note_stage(ref.stage)) note_stages();
}

void JobRun::task_failed(Rank rank, const jobs::TaskFailed& failed, Decision& decision) {
  scheduler::Lease* lease = leases_.find(failed.lease);
  if (lease == nullptr ||
      std::find(lease->workers.begin(), lease->workers.end(), rank) == lease->workers.end())
    return release(rank);
  const planner::TaskRef ref = task_ref(lease->task);
  const auto& stage = graph_->stages()[ref.stage].name;
  const bool cancelled = failed.kind == ErrorKind::kCancelled;
  // Told to checkpoint and stop: the gang ends when rank 0 says so, which has the checkpoint to report.
  if (cancelled && stopping_ && lease->workers.front() != rank) {
    early_[lease->id].insert(rank);
    return;
  }
  const std::string what =
      stage + " task " + planner::key_of(ref) + " on worker " + std::to_string(rank) + ": " + failed.message;
  log_warning("service", what);
  end_lease(*lease, rank, cancelled ? ledger::LeaseState::kLost : ledger::LeaseState::kFailed, failed.message,
            "", decision);
  if (cancelled) return retry(ref);
  if (failed.kind == ErrorKind::kDiskFull) {  // no fault of the task's: it waits for room
    disk_full_ = what;
    return retry(ref);
  }
  const std::int64_t attempts = ++failures_[ref];
  if (!failed.retryable)
    fail(failed.kind, what);
  else if (attempts >= spec_.spec.retry.task_attempts)
    fail(failed.kind, what + " (tried " + std::to_string(attempts) + " times)");
  else
    retry(ref);
}

void JobRun::worker_retired(Rank rank, const std::string& why, Decision& decision) {
  leaving_.erase(rank);
  scheduler::Lease* lease = leases_.of_worker(rank);
  if (lease == nullptr) return;
  const planner::TaskRef ref = task_ref(lease->task);
  end_lease(*lease, rank, ledger::LeaseState::kLost, why, "", decision);
  retry(ref);
}

void JobRun::retry(const planner::TaskRef& ref) {
  if (!stopping_ && leases_.of_task(ready_task(ref, 0)) == nullptr) make_ready({ref});  // else it has a twin
}

void JobRun::fail(ErrorKind kind, const std::string& message) {
  if (!failure_) failure_ = Failure{kind, message};
}

void JobRun::heartbeat(Rank rank, const jobs::Heartbeat& heartbeat, SteadyTime now) {
  const auto leaving = leaving_.find(rank);
  if (leaving != leaving_.end() && heartbeat.lease != leaving->second.first) release(rank);
  if (heartbeat.lease.value == 0 || !leases_.extend(heartbeat.lease, rank, now)) return;
  if (watch_ && leases_.find(heartbeat.lease)->task.slots > 0 &&
      heartbeat.done != world_.fleet->member(rank).last.done)
    watch_->progress(now);
}

void JobRun::step(Rank rank, const jobs::StepReport& report, SteadyTime now) {
  if (gang_lease(report.lease, rank) == nullptr) return;
  leases_.extend(report.lease, rank, now);
  if (watch_) watch_->step(now);
  std::string evaluation = report.evaluation;
  if (evaluation.empty() && last_step_) evaluation = last_step_->evaluation;
  last_step_ = report;
  last_step_->evaluation = std::move(evaluation);
}

void JobRun::note_gang_progress(SteadyTime now) {
  if (watch_) watch_->progress(now);
}

void JobRun::expire(SteadyTime now, Decision& decision) {
  for (const LeaseId id : leases_.expired(now)) {
    scheduler::Lease& lease = *leases_.find(id);
    const planner::TaskRef ref = task_ref(lease.task);
    const Rank first = lease.workers.front();
    decision.send(first, jobs::Cancel{id, false, "the lease expired"});
    log_warning("service",
                "lease " + std::to_string(id.value) + " of worker " + std::to_string(first) + " expired");
    // The worker lives, but does not name this lease in its heartbeats: it does not work on it.
    end_lease(lease, first, ledger::LeaseState::kLost, "expired", "", decision);
    retry(ref);
  }
}

void JobRun::stop(bool checkpoint_first, const std::string& reason, Decision& decision) {
  stopping_ = true;
  for (const LeaseId id : leases_.all()) {
    const scheduler::Lease& lease = *leases_.find(id);
    for (const Rank rank : lease.workers)
      decision.send(rank, jobs::Cancel{id, checkpoint_first && lease.task.slots > 0, reason});
  }
}

void JobRun::abandon(const std::string& why, Decision& decision) {
  stopping_ = true;
  for (const LeaseId id : leases_.all()) {
    scheduler::Lease& lease = *leases_.find(id);
    end_lease(lease, 0, ledger::LeaseState::kLost, why, "", decision);
  }
}

}  // namespace trireme::coordinator::service

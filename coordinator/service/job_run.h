// One job while it runs: the task graph, what is ready, who works on what, and what its training says. Every
// call decides from memory and writes into a Decision; time comes in with the call. State thread only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/io/door.h"
#include "common/telemetry/metrics.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/fleet/step_watch.h"
#include "coordinator/planner/task_graph.h"
#include "coordinator/scheduler/durations.h"
#include "coordinator/scheduler/leases.h"
#include "coordinator/service/decision.h"

namespace trireme::coordinator::service {

// What outlives a job: the workers and the numbers that only grow.
struct RunWorld {
  fleet::Fleet* fleet = nullptr;
  std::set<Rank>* idle = nullptr;         // reported, and nothing in hand
  telemetry::Metrics* metrics = nullptr;  // may be null
  const Clock* clock = nullptr;
  Incarnation incarnation;
  const io::Door* door = nullptr;  // what the job's files are reached through
};

struct Failure {
  ErrorKind kind = ErrorKind::kInternal;
  std::string message;
};

class JobRun {
 public:
  JobRun(const std::string& job, const jobs::JobSpec& spec, std::unique_ptr<planner::TaskGraph> graph,
         LeaseId last_lease, const fleet::Limits& limits, const RunWorld& world);

  // After a restart: every lease of the ledger in ascending order, before start(). Leases that an earlier
  // incarnation left open are written as lost.
  void replay(const ledger::LeaseRow& row, Decision& decision);
  void start(Decision& decision);

  void task_done(Rank rank, const jobs::TaskDone& done, SteadyTime now, Decision& decision);
  void task_failed(Rank rank, const jobs::TaskFailed& failed, Decision& decision);
  // Its task goes back and is not counted as tried.
  void worker_retired(Rank rank, const std::string& why, Decision& decision);
  void heartbeat(Rank rank, const jobs::Heartbeat& heartbeat, SteadyTime now);
  void step(Rank rank, const jobs::StepReport& report, SteadyTime now);
  void expire(SteadyTime now, Decision& decision);
  bool grant(SteadyTime now, Decision& decision);  // true: perhaps more could be granted at once

  // Gangs wait until the service has found what they resume from.
  std::vector<planner::TaskRef> take_unprepared_gangs();
  const jobs::Task& gang_task(const planner::TaskRef& ref);
  void gang_prepared(const planner::TaskRef& ref, const std::string& resume_from);
  // nullptr when it is no longer leased or `rank` is not its first member.
  const scheduler::Lease* gang_lease(LeaseId id, Rank rank);
  // The same of a checkpoint: also when the lease has ended meanwhile, for the files are whole all the same.
  const scheduler::Lease* gang_of_checkpoint(LeaseId id, Rank rank);
  void note_gang_progress(SteadyTime now);
  void postpone_gang(const planner::TaskRef& ref, const std::string& disk_full) {
    unprepared_.push_back(ref);
    disk_full_ = disk_full;
  }

  // No more grants; every lease in hand is asked to stop (gangs write a checkpoint first when asked to).
  void stop(bool checkpoint_first, const std::string& reason, Decision& decision);
  void abandon(const std::string& why, Decision& decision);  // leases in hand are lost, now
  // The gang's members leave its task, which is ready again.
  void interrupt_gang(const std::string& why, Decision& decision);

  bool finished() const { return graph_->finished(); }
  bool quiet() const { return leases_.size() == 0 && leaving_.empty(); }
  bool granted_anything() const { return granted_; }
  const std::optional<Failure>& failure() const { return failure_; }
  // What a full disk has kept from being done, once; it is ready again. "": nothing.
  std::string take_disk_full() { return std::exchange(disk_full_, ""); }
  void fail(ErrorKind kind, const std::string& message);
  // Why the incarnation has to end (a stuck gang), "" when it need not.
  std::string stuck(SteadyTime now) const;

  const planner::TaskGraph& graph() const { return *graph_; }
  std::vector<std::size_t> take_committed_stages();
  std::int64_t tasks_done() const { return tasks_done_; }
  std::size_t leased(std::size_t stage) const;
  // Mean of the stage's tasks that were done here, gangs left out; 0 when none was.
  double task_seconds(std::size_t stage) const;
  std::string task_text(Rank rank);  // "filter 3/8" for people, "" when idle
  const std::optional<jobs::StepReport>& last_step() const { return last_step_; }
  std::string training_stage() const;
  LeaseId last_lease() const { return leases_.last(); }

 private:
  void make_ready(std::vector<planner::TaskRef> refs);
  bool give(const scheduler::Grant& grant, SteadyTime now, Decision& decision);
  void give_twice(SteadyTime now, Decision& decision);
  // What became ready because of it; nothing when the job has failed of it.
  std::vector<planner::TaskRef> completed(const planner::TaskRef& ref, const jobs::TaskDone& done);
  void end_lease(scheduler::Lease& lease, Rank reporter, ledger::LeaseState state, const std::string& why,
                 const std::string& result, Decision& decision);
  bool note_stage(std::size_t stage);  // true: committed just now
  void note_stages();
  void retry(const planner::TaskRef& ref);
  void release(Rank rank);
  void warn_of_damage(const planner::TaskRef& ref, const jobs::TaskDone& done);
  void note_speed(Rank rank, const scheduler::Lease& lease, const jobs::TaskDone& done);
  void count_attempt(std::size_t stage, const std::string& outcome);
  ledger::LeaseRow row_of(const scheduler::Lease& lease, ledger::LeaseState state) const;

  std::string job_;
  jobs::JobSpec spec_;
  std::unique_ptr<planner::TaskGraph> graph_;
  fleet::Limits limits_;
  RunWorld world_;
  scheduler::Scheduler scheduler_;
  scheduler::Leases leases_;
  scheduler::Durations durations_;
  std::map<planner::TaskRef, jobs::Task> gang_tasks_;
  std::vector<planner::TaskRef> unprepared_;
  std::vector<planner::TaskRef> replayed_ready_, replayed_done_;
  // By task and address: done before, and what they wait for is to be done again (an input of another shard
  // has changed, a sample was quarantined). Should it come to the same address, so does their result.
  std::map<std::pair<planner::TaskRef, std::string>, jobs::TaskDone> known_;
  std::map<planner::TaskRef, std::int64_t> failures_;
  std::map<LeaseId, std::set<Rank>> early_;  // members that ended before gang rank 0
  std::map<LeaseId, scheduler::Lease> ended_gangs_;
  std::map<Rank, std::pair<LeaseId, SteadyTime>>
      leaving_;                                // of a gang that has ended, or a task done elsewhere
  std::vector<std::int64_t> leased_by_stage_;  // tasks
  int damage_warnings_ = 0;
  std::vector<std::pair<std::int64_t, double>> timed_by_stage_;  // tasks, their seconds
  std::vector<bool> stage_committed_;
  std::vector<std::size_t> committed_stages_;
  std::optional<jobs::StepReport> last_step_;
  std::optional<fleet::StepWatch> watch_;
  std::optional<Failure> failure_;
  std::string disk_full_;
  std::int64_t tasks_done_ = 0;
  std::int64_t training_stage_ = -1;
  bool started_ = false, granted_ = false, stopping_ = false;
};

scheduler::ReadyTask ready_task(const planner::TaskRef& ref, std::int64_t slots);
planner::TaskRef task_ref(const scheduler::ReadyTask& task);

}  // namespace trireme::coordinator::service

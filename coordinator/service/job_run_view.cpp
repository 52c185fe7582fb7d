// What others ask of a running job.
#include <utility>

#include "coordinator/service/job_run.h"

namespace trireme::coordinator::service {

std::string JobRun::stuck(SteadyTime now) const {
  if (watch_ && !stopping_ && watch_->stuck(now))
    return "training made no step for " + std::to_string(seconds(watch_->limit())) + " s";
  for (const auto& [rank, lease] : leaving_)
    if (now - lease.second > limits_.step)
      return "worker " + std::to_string(rank) + " did not come back from a task that has ended";
  return "";
}

void JobRun::interrupt_gang(const std::string& why, Decision& decision) {
  for (const LeaseId id : leases_.all())
    if (const scheduler::Lease& lease = *leases_.find(id); lease.task.slots > 0)
      for (const Rank rank : lease.workers) decision.send(rank, jobs::Cancel{id, false, why});
}

std::vector<std::size_t> JobRun::take_committed_stages() {
  return std::exchange(committed_stages_, {});
}

double JobRun::task_seconds(std::size_t stage) const {
  const auto& [tasks, seconds] = timed_by_stage_[stage];
  return tasks == 0 ? 0 : seconds / static_cast<double>(tasks);
}

std::size_t JobRun::leased(std::size_t stage) const {
  return static_cast<std::size_t>(leased_by_stage_[stage]);
}

std::string JobRun::training_stage() const {
  return training_stage_ < 0 ? "" : graph_->stages()[static_cast<std::size_t>(training_stage_)].name;
}

std::string JobRun::task_text(Rank rank) {
  const scheduler::Lease* lease = leases_.of_worker(rank);
  if (lease == nullptr) return "";
  const auto stage = static_cast<std::size_t>(lease->task.stage);
  const auto& beat = world_.fleet->member(rank).last;
  std::string text = graph_->stages()[stage].name;
  if (lease->task.slots == 0) text += " " + planner::key_of(task_ref(lease->task));
  if (beat.lease == lease->id && beat.total > 0)
    text += " " + std::to_string(beat.done) + "/" + std::to_string(beat.total);
  return text;
}

}  // namespace trireme::coordinator::service

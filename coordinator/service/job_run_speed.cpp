// How fast the workers of a running job are, and what becomes of a task that takes far too long.
#include <algorithm>

#include "common/base/log.h"
#include "coordinator/service/job_run.h"

namespace trireme::coordinator::service {

// With nothing else to do, workers take over what is far behind: the first result counts, the other worker is
// told to stop. Equal addresses mean equal bytes, so that neither can harm the other.
void JobRun::give_twice(SteadyTime now, Decision& decision) {
  if (scheduler_.waiting() > 0 || !unprepared_.empty()) return;
  for (const LeaseId id : leases_.all()) {
    if (world_.idle->empty()) return;
    const scheduler::Lease& slow = *leases_.find(id);
    const auto limit = slow.task.slots > 0 ? std::nullopt : durations_.limit(slow.task);
    if (!limit || now - slow.granted < *limit || leases_.twin_of(slow) != nullptr) continue;
    const Rank helper = *std::ranges::max_element(*world_.idle, {},
                                                  [&](Rank rank) { return world_.fleet->speed_ratio(rank); });
    const Rank first = slow.workers.front();
    const auto took = seconds(now - slow.granted);
    const scheduler::ReadyTask task = slow.task;
    world_.idle->erase(helper);
    if (!give({task, {helper}}, now, decision)) return;
    char text[96];
    std::snprintf(text, sizeof text, " for %.1f s, its fellows took less than %.1f s", took,
                  seconds(*limit) / 1.5);
    log_warning("service", graph_->stages()[static_cast<std::size_t>(task.stage)].name + " task " +
                               planner::key_of(task_ref(task)) + " is with worker " + std::to_string(first) +
                               text + ": worker " + std::to_string(helper) + " does it too");
    count_attempt(static_cast<std::size_t>(task.stage), "doubled");
  }
}

// The report lists the worst shards; the log names each as it is found, up to a point.
void JobRun::warn_of_damage(const planner::TaskRef& ref, const jobs::TaskDone& done) {
  constexpr int kMostWarnings = 100;
  if (done.summary.empty() || damage_warnings_ >= kMostWarnings) return;
  const jobs::Task task = graph_->describe_task(ref);
  if (task.kind != jobs::TaskKind::kInspect || !task.shard) return;
  const auto summary = jobs::summary_from_json(done.summary);
  if (summary.bad.empty()) return;
  std::string text = task.shard->path + ":";
  for (const auto& [reason, count] : summary.bad) text += " " + std::to_string(count) + " " + reason;
  for (std::size_t i = 0; i < summary.examples.size(); ++i)
    text += (i == 0 ? " (first: " : ", ") + summary.examples[i];
  log_warning("data", text + (summary.examples.empty() ? "" : ")"));
  if (++damage_warnings_ == kMostWarnings) log_warning("data", "further damaged shards stand in the report");
}

void JobRun::note_speed(Rank rank, const scheduler::Lease& lease, const jobs::TaskDone& done) {
  if (done.reused || done.seconds <= 0 || lease.task.slots > 0) return;
  auto& [tasks, seconds] = timed_by_stage_[static_cast<std::size_t>(lease.task.stage)];
  ++tasks;
  seconds += done.seconds;
  const auto in = done.counts.find("in");
  const double samples = in != done.counts.end() ? static_cast<double>(in->second) : 1;
  const auto& stage = graph_->stages()[static_cast<std::size_t>(lease.task.stage)];
  world_.fleet->note_rate(rank, stage.name, samples / done.seconds);
  scheduler::Lease* twin = leases_.twin_of(lease);
  if (twin == nullptr) return;
  // Of the same task the other has done so much in so long.
  const auto& beat = world_.fleet->member(twin->workers.front()).last;
  const double share = beat.lease == twin->id && beat.total > 0
                           ? static_cast<double>(beat.done) / static_cast<double>(beat.total)
                           : 0;
  const double since = std::max(1e-3, trireme::seconds(world_.clock->now() - twin->granted));
  world_.fleet->note_rate(twin->workers.front(), stage.name, share * samples / since);
}

void JobRun::count_attempt(std::size_t stage, const std::string& outcome) {
  if (world_.metrics != nullptr)
    world_.metrics->count("trireme_shard_attempts_total", 1,
                          {{"stage", graph_->stages()[stage].name}, {"outcome", outcome}});
}

}  // namespace trireme::coordinator::service

#include "coordinator/service/books/job_book.h"

#include <algorithm>
#include <cstdio>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/hash.h"

namespace trireme::coordinator::service {

using ledger::JobState;

namespace {

std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return printable(text, 512);
}

}  // namespace

JobBook::JobBook(ledger::Ledger& ledger, telemetry::Metrics& metrics, const Clock& clock)
    : ledger_(ledger), metrics_(metrics), clock_(clock) {
  for (auto& row : ledger_.jobs()) {
    Job job;
    job.spec = jobs::read_job(row.spec).job;
    for (auto& stage : ledger_.stages(row.job)) job.stages.emplace(stage.position, std::move(stage));
    job.row = std::move(row);
    jobs_.emplace(job.row.job, std::move(job));
  }
}

Job& JobBook::find(const std::string& id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) throw Error(ErrorKind::kNotFound, "no job '" + id + "'", "see the list of jobs");
  return found->second;
}

Job& JobBook::add(const jobs::JobSpec& spec, const std::string& key, std::uint64_t body_hash,
                  Decision& decision) {
  char id[32];
  std::snprintf(id, sizeof id, "job-%06zu", jobs_.size() + 1);
  Job& job = jobs_[id];
  job.spec = spec;
  job.row.job = id;
  job.row.idempotency_key = key;
  job.row.body_hash = body_hash;
  job.row.spec = jobs::effective_json(spec);
  job.row.submitted_ms = milliseconds(clock_.wall());
  decision.writes.push_back(job.row);
  decision.event("JobSubmitted", id, payload({{"name", one_line(spec.name)}}));
  return job;
}

void JobBook::adopt(const jobs::JobSpec& wanted, Decision& decision) {
  const std::string spec = jobs::effective_json(wanted);
  bool unfinished = false;
  for (auto& [id, job] : jobs_) {
    if (ledger::is_terminal(job.row.state)) continue;
    if (job.row.spec == spec) {
      unfinished = true;
      continue;
    }
    log_warning("service", id + " was not finished and is replaced by the specification given now");
    if (job.row.state != JobState::kStopping)
      move(job, JobState::kStopping, "replaced by another specification", decision);
    move(job, JobState::kCancelled, "replaced by another specification", decision);
  }
  if (!unfinished) add(wanted, "", io::xxh3_64(spec), decision);
}

void JobBook::move(Job& job, JobState to, const std::string& cause, Decision& decision) {
  const std::string from_name(name_of(job.row.state)), to_name(name_of(to));
  if (!ledger::may_move(job.row.state, to))
    throw Error(ErrorKind::kInternal,
                "job " + job.row.job + " cannot go from " + from_name + " to " + to_name);
  decision.event("JobState", job.row.job,
                 payload({{"from", from_name}, {"to", to_name}, {"cause", one_line(cause)}}));
  metrics_.drop("trireme_job_state", {{"job", job.row.job}, {"state", from_name}});
  metrics_.set("trireme_job_state", 1, {{"job", job.row.job}, {"state", to_name}});
  job.row.active_seconds = active_seconds(job);
  if (runs(job)) began_ = clock_.now();
  job.row.state = to;
  job.row.cause = cause;
  if (ledger::is_terminal(to)) job.row.ended_ms = milliseconds(clock_.wall());
  decision.writes.push_back(job.row);
  log_info("service", job.row.job + " is " + to_name + (cause.empty() ? "" : ": " + cause));
}

void JobBook::plan_fixed(Job& job, const std::vector<std::pair<std::string, std::string>>& stages,
                         Decision& decision) {
  if (!job.stages.empty()) return;
  auto names = nlohmann::ordered_json::array();
  for (const auto& [name, kind] : stages) {
    ledger::StageRow row{
        job.row.job, name, static_cast<std::int64_t>(job.stages.size()), kind, ledger::StageState::kOpen,
        "{}"};
    decision.writes.push_back(row);
    names.push_back(name);
    job.stages.emplace(row.position, std::move(row));
  }
  decision.event("PlanFixed", job.row.job, payload({{"stages", std::move(names)}}));
}

void JobBook::stage_committed(Job& job, std::size_t stage, const std::string& progress, Decision& decision) {
  auto& row = job.stages.at(static_cast<std::int64_t>(stage));
  row.state = ledger::StageState::kCommitted;
  row.plan = progress;
  decision.writes.push_back(row);
  decision.event("StageCommitted", job.row.job, payload({{"stage", row.stage}}));
}

Job* JobBook::run_next() {
  const auto next = std::find_if(jobs_.begin(), jobs_.end(), [](const auto& entry) {
    return !ledger::is_terminal(entry.second.row.state);
  });
  if (next == jobs_.end()) return nullptr;
  running_ = shown_ = next->first;
  began_ = clock_.now();
  progressed_ = false;
  return &next->second;
}

void JobBook::run_none() {
  running_.clear();
  began_ = {};
}

double JobBook::active_seconds(const Job& job) const {
  const bool active = runs(job) && began_ != SteadyTime{};
  return job.row.active_seconds + (active ? seconds(clock_.now() - began_) : 0);
}

void JobBook::note_progress(Decision& decision) {
  Job* job = running();
  if (progressed_ || job == nullptr) return;
  progressed_ = true;
  job->row.without_progress = 0;
  decision.writes.push_back(job->row);
}

}  // namespace trireme::coordinator::service

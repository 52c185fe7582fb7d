// The life of a job: adopted or submitted, planned, run, ended. Every edge is written with its cause.
#include <algorithm>
#include <cstdio>
#include <memory>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/hash.h"
#include "coordinator/ledger/result_json.h"
#include "coordinator/service/outputs.h"
#include "coordinator/service/service.h"

namespace trireme::coordinator::service {

using ledger::JobState;

namespace {

std::int64_t milliseconds(SystemTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return printable(text, 512);
}

constexpr const char* kBySignal = "stopped by signal";

}  // namespace

void Service::load_jobs() {
  for (auto& row : ledger_.jobs()) {
    Job job;
    job.spec = jobs::read_job(row.spec).job;
    for (auto& stage : ledger_.stages(row.job)) job.stages.emplace(stage.position, std::move(stage));
    job.row = std::move(row);
    jobs_.emplace(job.row.job, std::move(job));
  }
  const auto known = checkpoints_.known();
  for (const auto& [id, job] : jobs_) {
    const auto newest = checkpoints::newest_manifest(job.spec.spec.output, known);
    if (newest.sequence > 0) ledger_.require_at_least(newest.sequence, newest.path);
  }
  for (const auto& row : ledger_.events("", 0, 2))
    afresh_ = afresh_ || row.event.kind == "LedgerStartedAfresh";
}

Service::Job& Service::find(const std::string& job_id) {
  const auto found = jobs_.find(job_id);
  if (found == jobs_.end())
    throw Error(ErrorKind::kNotFound, "no job '" + job_id + "'", "see the list of jobs");
  return found->second;
}

Service::Job& Service::add_job(const jobs::JobSpec& spec, const std::string& key, std::uint64_t body_hash,
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

// --job: the unfinished job with this very specification goes on; another one in the way is cancelled.
void Service::adopt_job(Decision& decision) {
  const std::string spec = jobs::effective_json(*options_.job);
  for (auto& [id, job] : jobs_) {
    if (ledger::is_terminal(job.row.state)) continue;
    if (job.row.spec == spec) continue;
    log_warning("service", id + " was not finished and is replaced by the specification given now");
    if (job.row.state != JobState::kStopping)
      move(job, JobState::kStopping, "replaced by another specification", decision);
    move(job, JobState::kCancelled, "replaced by another specification", decision);
  }
  const bool unfinished = std::any_of(jobs_.begin(), jobs_.end(), [](const auto& entry) {
    return !ledger::is_terminal(entry.second.row.state);
  });
  if (!unfinished) add_job(*options_.job, "", io::xxh3_64(spec), decision);
}

void Service::move(Job& job, JobState to, const std::string& cause, Decision& decision) {
  if (!ledger::may_move(job.row.state, to))
    throw Error(ErrorKind::kInternal, "job " + job.row.job + " cannot go from " +
                                          std::string(name_of(job.row.state)) + " to " +
                                          std::string(name_of(to)));
  decision.event(
      "JobState", job.row.job,
      payload({{"from", name_of(job.row.state)}, {"to", name_of(to)}, {"cause", one_line(cause)}}));
  metrics_.drop("trireme_job_state", {{"job", job.row.job}, {"state", std::string(name_of(job.row.state))}});
  metrics_.set("trireme_job_state", 1, {{"job", job.row.job}, {"state", std::string(name_of(to))}});
  job.row.active_seconds = active_seconds(job);
  if (job.row.job == running_) began_ = clock_.now();
  job.row.state = to;
  job.row.cause = cause;
  if (ledger::is_terminal(to)) job.row.ended_ms = milliseconds(clock_.wall());
  decision.writes.push_back(job.row);
  log_info("service", job.row.job + " is " + std::string(name_of(to)) + (cause.empty() ? "" : ": " + cause));
}

double Service::active_seconds(const Job& job) const {
  const bool active = job.row.job == running_ && began_ != SteadyTime{};
  return job.row.active_seconds + (active ? seconds(clock_.now() - began_) : 0);
}

// Anything new that is durable: the next start does not count as one without progress.
void Service::note_progress(Decision& decision) {
  Job* job = running();
  if (progressed_ || job == nullptr) return;
  progressed_ = true;
  job->row.without_progress = 0;
  decision.writes.push_back(job->row);
}

void Service::pick_next(Decision& decision) {
  if (!running_.empty() || outcome_ || paused_ || reporting_) return;
  for (auto& [id, job] : jobs_) {
    if (ledger::is_terminal(job.row.state)) continue;
    running_ = shown_ = id;
    return begin(job, decision);
  }
}

void Service::begin(Job& job, Decision& decision) {
  auto& row = job.row;
  const bool fresh = row.state == JobState::kQueued;
  began_ = clock_.now();
  progressed_ = false;
  checkpoints_.forget_steps();
  if (row.state == JobState::kStopping) {
    const bool cancelled = row.cause.starts_with("cancelled");
    return end_job(job, cancelled ? JobState::kCancelled : JobState::kFailed, row.cause, 1, decision);
  }
  if (!fresh && row.state != JobState::kRecovering)
    move(job, JobState::kRecovering, "the coordinator was restarted", decision);
  const auto& retry = job.spec.spec.retry;
  const std::string cause = row.cause;
  if (row.without_progress >= retry.no_progress_limit || row.attempt >= retry.max_attempts) {
    const bool stalled = row.without_progress >= retry.no_progress_limit;
    const std::string why =
        stalled ? std::to_string(row.without_progress) + " starts in a row committed nothing new"
                : std::to_string(row.attempt) + " starts were not enough";
    return end_job(job, JobState::kFailed, why + "; the last cause: " + cause, 93, decision);
  }
  if (!fresh && cause != kBySignal) metrics_.count("trireme_restarts_total", 1, {{"cause", "lost"}});
  ++row.attempt;
  if (cause != kBySignal) ++row.without_progress;
  if (row.started_ms == 0) row.started_ms = milliseconds(clock_.wall());
  move(job, JobState::kStarting, fresh ? "" : cause, decision);
  try {
    limits_ = fleet::limits_of(job.spec.spec.timeouts);
  } catch (const Error& error) {
    return end_job(job, JobState::kFailed, error.what(), 1, decision);
  }
  fleet_.change_limits(limits_);
  control_->change_heartbeat(limits_.heartbeat);
  for (const auto& member : fleet_.members())
    decision.send(member.rank, jobs::Welcome{ledger_.run_id(), row.job, seconds(limits_.heartbeat),
                                             seconds(limits_.fence)});
  look_and_plan(job);
}

// On the helper thread: what lies in the output, what the job reads, its graph.
void Service::look_and_plan(const Job& job) {
  foreign_output_ = false;
  background_.run([this, id = job.row.job, spec = job.spec, known = checkpoints_.known(),
                   output_known = knows_output(job)] {
    bool foreign = true;
    try {
      const auto survey = CheckpointBook::look_into(spec.spec.output, known, output_known);
      foreign = false;
      io::write_file_atomic(io::Path(spec.spec.output) / "spec.json", jobs::effective_json(spec) + "\n");
      auto graph = std::make_shared<std::unique_ptr<planner::TaskGraph>>(
          std::make_unique<planner::TaskGraph>(spec, options_.list(spec), id));
      for (const auto& remark : (*graph)->remarks()) log_info("data", remark);
      for (const auto& warning : (*graph)->warnings()) log_warning("data", warning);
      queue_.push([this, id, graph, survey](Decision& next) {
        checkpoints_.take_up(survey, next);
        planned(id, std::move(*graph), next);
      });
    } catch (const std::exception& failure) {
      const auto* error = dynamic_cast<const Error*>(&failure);
      const ErrorKind kind = error != nullptr ? error->kind() : ErrorKind::kInternal;
      queue_.push([this, id, kind, foreign, what = std::string(failure.what())](Decision& next) {
        if (running_ != id || stopping_) return;
        foreign_output_ = foreign;
        stop_running({JobState::kFailed, kind == ErrorKind::kDamaged ? 65 : 1, what, {}}, false, next);
      });
    }
  });
}

// Of an earlier job, or of this run folder: what lies there is no surprise.
bool Service::knows_output(const Job& job) const {
  const io::Path output = job.spec.spec.output;
  const bool own = output == folder_.path();
  return (own && afresh_) || checkpoints_.knows_of(output) ||
         std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& other) {
           return !other.second.stages.empty() && (own || io::Path(other.second.spec.spec.output) == output);
         });
}

void Service::planned(const std::string& job_id, std::unique_ptr<planner::TaskGraph> graph,
                      Decision& decision) {
  if (running_ != job_id) return;
  Job& job = jobs_.at(job_id);
  run_ = std::make_unique<JobRun>(job_id, job.spec, std::move(graph), last_lease_, limits_,
                                  RunWorld{&fleet_, &idle_, &metrics_, &clock_, folder_.incarnation()});
  ledger_.for_each_lease(job_id, [&](const ledger::LeaseRow& row) { run_->replay(row, decision); });
  run_->start(decision);
  const auto& stages = run_->graph().stages();
  if (!job.stages.empty()) return;
  auto names = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < stages.size(); ++i) {
    ledger::StageRow row{job_id, stages[i].name, static_cast<std::int64_t>(i), stages[i].kind, "open", "{}"};
    decision.writes.push_back(row);
    names.push_back(stages[i].name);
    job.stages.emplace(row.position, std::move(row));
  }
  decision.event("PlanFixed", job_id, payload({{"stages", std::move(names)}}));
}

// Where the running job stands after the events of this batch.
void Service::settle(SteadyTime now, Decision& decision) {
  Job* job = running();
  if (job == nullptr) return;
  if (run_ != nullptr) {
    if (job->row.state == JobState::kStarting && run_->granted_anything()) {
      move(*job, JobState::kRunning, "", decision);
      if (!recovered_) metrics_.observe("trireme_recovery_duration_seconds", seconds(now - opened_));
      recovered_ = true;
    }
    commit_stages(decision);
    if (run_->failure() && !stopping_) {
      const auto failure = *run_->failure();
      stop_running({JobState::kFailed, failure.kind == ErrorKind::kDamaged ? 65 : 1, failure.message, {}},
                   false, decision);
    }
  }
  const double limit = job->spec.spec.deadline_seconds;
  if (!stopping_ && limit > 0 && active_seconds(*job) > limit)
    stop_running({JobState::kFailed, 1, "the deadline of " + std::to_string(limit) + " s has passed", {}},
                 true, decision);
  if (!stopping_) {
    const bool done = run_ != nullptr && run_->finished() && run_->quiet() && stages_being_written_.empty() &&
                      std::all_of(job->stages.begin(), job->stages.end(),
                                  [](const auto& stage) { return stage.second.state == "committed"; });
    if (done) end_job(*job, JobState::kSucceeded, "", 0, decision);
    return;
  }
  const bool quiet = run_ == nullptr || (run_->quiet() && !checkpoints_.sealing());
  const bool late = now > stopping_->deadline;
  if (!quiet && !late) return;
  const Stopping how = *stopping_;
  if (!quiet && run_ != nullptr) run_->abandon("did not stop in time", decision);
  if (how.to != JobState::kRecovering) {
    end_job(*job, how.to, how.cause, how.exit_code, decision);
    if (!quiet) {
      leave({std::string(name_of(how.to)), how.cause + " (a worker did not stop in time)", !options_.job,
             options_.job ? how.exit_code : 75},
            false, decision);
    }
    return;
  }
  move(*job, JobState::kRecovering, how.cause, decision);
  leave({"STOPPED", how.cause, false, 75}, quiet, decision);
}

void Service::stop_running(Stopping stopping, bool checkpoint_first, Decision& decision) {
  Job& job = *running();
  stopping.deadline =
      clock_.now() +
      std::chrono::milliseconds(static_cast<std::int64_t>(1000 * job.spec.spec.timeouts.stop_seconds));
  if (stopping.to != JobState::kRecovering) move(job, JobState::kStopping, stopping.cause, decision);
  if (run_ != nullptr) run_->stop(checkpoint_first, stopping.cause, decision);
  stopping_ = std::move(stopping);
}

void Service::end_job(Job& job, JobState state, const std::string& cause, int exit_code, Decision& decision) {
  if (job.row.state != JobState::kStopping) move(job, JobState::kStopping, cause, decision);
  const auto views = stages_of(job);
  for (auto& [position, row] : job.stages) {
    row.plan = progress_json(views[static_cast<std::size_t>(position)]);
    decision.writes.push_back(row);
  }
  move(job, state, cause, decision);
  if (run_ != nullptr) {
    last_lease_ = run_->last_lease();
    remember_damage(job.row.job);
  }
  const std::int64_t tasks = run_ != nullptr ? run_->tasks_done() : 0;
  run_.reset();
  stopping_.reset();
  stages_being_written_.clear();
  running_.clear();
  began_ = {};
  reporting_ = true;
  const std::string id = job.row.job;
  const std::string name(name_of(state));
  decision.after.push_back([this, id, name, cause, exit_code, tasks] {
    progress_written_ = {};
    write_progress(clock_.now());
    const auto reported = [this, name, cause, exit_code, tasks](const std::string& fault) {
      if (!fault.empty()) log_warning("service", "the report was not written: " + fault);
      queue_.push([this, name, cause, exit_code, tasks](Decision& next) {
        reporting_ = false;
        if (!options_.job) return;
        tasks_before_ = tasks;
        leave({name, cause, false, exit_code}, true, next);
      });
    };
    if (foreign_output_)
      reported("");  // nothing is written over what others have left
    else
      write_report(id, reported);
  });
}

void Service::commit_stages(Decision& decision) {
  for (const std::size_t stage : run_->take_committed_stages()) {
    if (running()->stages.at(static_cast<std::int64_t>(stage)).state == "committed") continue;
    stages_being_written_.insert(stage);
    decision.after.push_back([this, id = running_, stage] { write_stage(id, stage); });
  }
}

// After the commit of its last task: the ledger names every output, the helper thread writes them down.
void Service::write_stage(const std::string& job_id, std::size_t stage) {
  if (running_ != job_id || run_ == nullptr) return;
  const Job& job = jobs_.at(job_id);
  const auto& row = job.stages.at(static_cast<std::int64_t>(stage));
  std::vector<std::pair<planner::TaskRef, CommittedTask>> sorted;
  ledger_.for_each_lease(job_id, [&](const ledger::LeaseRow& lease) {
    if (lease.state != "done" || lease.stage != static_cast<std::int64_t>(stage)) return;
    const planner::TaskRef ref = planner::task_ref_from_key(lease.task);
    if (lease.address ==
        run_->graph().address_of(ref))  // not what was made of an input that has changed since
      sorted.push_back({ref, {lease.task, ledger::result_from_json(lease.result, lease.lease)}});
  });
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<CommittedTask> tasks;
  for (auto& [ref, task] : sorted) tasks.push_back(std::move(task));
  const bool last_of_kind = std::none_of(job.stages.begin(), job.stages.end(), [&](const auto& other) {
    return other.first > row.position && other.second.kind == row.kind;
  });
  background_.run([this, job_id, stage, kind = row.kind, name = row.stage, last_of_kind,
                   output = io::Path(job.spec.spec.output), tasks = std::move(tasks)] {
    std::string fault;
    try {
      write_stage_outputs(output, name, tasks);
      publish_stage(output, name, kind, last_of_kind, tasks);
    } catch (const std::exception& failure) {
      fault = failure.what();
    }
    queue_.push([this, job_id, stage, fault](Decision& next) { stage_written(job_id, stage, fault, next); });
  });
}

void Service::stage_written(const std::string& job_id, std::size_t stage, const std::string& fault,
                            Decision& decision) {
  if (running_ != job_id || run_ == nullptr) return;
  stages_being_written_.erase(stage);
  if (!fault.empty()) return run_->fail(ErrorKind::kInvalid, "the outputs cannot be written: " + fault);
  Job& job = jobs_.at(job_id);
  auto& row = job.stages.at(static_cast<std::int64_t>(stage));
  row.state = "committed";
  row.plan = progress_json(stages_of(job)[stage]);
  decision.writes.push_back(row);
  decision.event("StageCommitted", job_id, payload({{"stage", row.stage}}));
  decision.after.push_back([this] { checkpoints_.back_up(); });
}

}  // namespace trireme::coordinator::service

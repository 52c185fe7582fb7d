// The life of a job: adopted or submitted, planned, run, ended. Every edge is written with its cause.
#include <algorithm>
#include <memory>
#include <set>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "coordinator/service/service.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::service {

using ledger::JobState;

namespace {

// <store>/<kind>/<two digits>/<address>…: what was being written aside when its writer was killed.
void sweep_half_written(const io::Path& store, const std::set<std::string>& addresses) {
  std::set<std::string> prefixes;
  for (const auto& address : addresses) prefixes.insert(address.substr(0, 2));
  const auto sweep = [&](const io::Path& folder) {
    for (const auto& path : io::list_folder_if_there(folder)) {
      const std::string name = path.filename().string();
      if (addresses.contains(name.substr(0, name.find('.'))) && name.find(".tmp") != std::string::npos)
        io::remove_tree(path);
    }
  };
  try {
    for (const auto& kind : io::list_folder_if_there(store))
      for (const auto& prefix : prefixes) sweep(kind / prefix);
  } catch (const Error& error) {
    log_warning("service", error.what());
  }
}

// Of a state that ends a job.
store::EndState end_of(JobState state) {
  return *from_name<store::EndState>(name_of(state));
}

}  // namespace

constexpr const char* kBySignal = "stopped by signal";

void Service::pick_next(Decision& decision) {
  if (running() != nullptr || outcome_ || paused_ || reporting_) return;
  if (Job* job = jobs_.run_next()) begin(*job, decision);
}

void Service::begin(Job& job, Decision& decision) {
  auto& row = job.row;
  const bool fresh = row.state == JobState::kQueued;
  checkpoints_.forget_steps();
  if (row.state == JobState::kStopping) {
    const bool cancelled = row.cause.starts_with("cancelled");
    return end_job(job, cancelled ? JobState::kCancelled : JobState::kFailed, row.cause, 1, decision);
  }
  if (!fresh && row.state != JobState::kRecovering)
    jobs_.move(job, JobState::kRecovering, "the coordinator was restarted", decision);
  if (!fresh) note_crashes(job, decision);
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
  jobs_.move(job, JobState::kStarting, fresh ? "" : cause, decision);
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

// What is to blame is known: the start was not in vain, and stages may have to be done again.
void Service::note_crashes(Job& job, Decision& decision) {
  const auto before = quarantine_.kept_from(job.row.job);
  if (quarantine_.take_up(job.row.job, decision)) job.row.without_progress = 0;
  if (quarantine_.kept_from(job.row.job) == before) return;
  for (auto& [position, stage] : job.stages) {
    stage.state = ledger::StageState::kOpen;
    decision.writes.push_back(stage);
  }
}

// On the helper thread: what lies in the output, what the job reads, its graph.
void Service::look_and_plan(const Job& job) {
  foreign_output_ = false;
  background_.run([this, id = job.row.job, spec = job.spec, known = checkpoints_.known(),
                   output_known = knows_output(job), quarantined = quarantine_.kept_from(job.row.job)] {
    bool foreign = true;
    try {
      const auto survey = CheckpointBook::look_into(spec.spec.output, known, output_known);
      foreign = false;
      io::write_file_atomic(store::RunPaths{spec.spec.output}.spec(), jobs::effective_json(spec) + "\n");
      planner::ListedJob listed = options_.list(spec);
      listed.quarantined = quarantined;
      auto graph = std::make_shared<std::unique_ptr<planner::TaskGraph>>(
          std::make_unique<planner::TaskGraph>(spec, std::move(listed), id));
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
        if (jobs_.running_id() != id || stopping_) return;
        if (kind == ErrorKind::kDiskFull) {
          unplanned_ = true;
          return pause(what, next);
        }
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
         std::any_of(jobs_.all().begin(), jobs_.all().end(), [&](const auto& other) {
           return !other.second.stages.empty() && (own || io::Path(other.second.spec.spec.output) == output);
         });
}

void Service::planned(const std::string& job_id, std::unique_ptr<planner::TaskGraph> graph,
                      Decision& decision) {
  if (jobs_.running_id() != job_id) return;
  Job& job = jobs_.find(job_id);
  run_ = std::make_unique<JobRun>(
      job_id, job.spec, std::move(graph), last_lease_, limits_,
      RunWorld{&fleet_, &idle_, &metrics_, &clock_, folder_.incarnation(), door_.get()});
  ledger_.for_each_lease(job_id, [&](const ledger::LeaseRow& row) { run_->replay(row, decision); });
  {
    const io::Behind behind(door_.get());
    // before anyone writes again
    sweep_half_written(store::store_of(job.spec.spec), ledger_.unanswered_addresses());
  }
  run_->start(decision);
  std::vector<std::pair<std::string, std::string>> stages;
  for (const auto& stage : run_->graph().stages()) stages.emplace_back(stage.name, stage.kind);
  jobs_.plan_fixed(job, stages, decision);
}

// Where the running job stands after the events of this batch.
void Service::settle(SteadyTime now, Decision& decision) {
  Job* job = running();
  if (job == nullptr) return;
  if (run_ != nullptr) {
    if (job->row.state == JobState::kStarting && run_->granted_anything()) {
      jobs_.move(*job, JobState::kRunning, "", decision);
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
  if (!stopping_ && limit > 0 && jobs_.active_seconds(*job) > limit)
    stop_running({JobState::kFailed, 1, "the deadline of " + std::to_string(limit) + " s has passed", {}},
                 true, decision);
  if (!stopping_) {
    const bool done = run_ != nullptr && run_->finished() && run_->quiet() && !publisher_.writing() &&
                      std::all_of(job->stages.begin(), job->stages.end(), [](const auto& stage) {
                        return stage.second.state == ledger::StageState::kCommitted;
                      });
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
      leave({end_of(how.to), how.cause + " (a worker did not stop in time)", !options_.job,
             options_.job ? how.exit_code : 75},
            false, decision);
    }
    return;
  }
  jobs_.move(*job, JobState::kRecovering, how.cause, decision);
  leave({store::EndState::kStopped, how.cause, false, 75}, quiet, decision);
}

void Service::stop_running(Stopping stopping, bool checkpoint_first, Decision& decision) {
  Job& job = *running();
  stopping.deadline =
      clock_.now() +
      std::chrono::milliseconds(static_cast<std::int64_t>(1000 * job.spec.spec.timeouts.stop_seconds));
  if (stopping.to != JobState::kRecovering) jobs_.move(job, JobState::kStopping, stopping.cause, decision);
  if (run_ != nullptr) run_->stop(checkpoint_first, stopping.cause, decision);
  stopping_ = std::move(stopping);
}

void Service::end_job(Job& job, JobState state, const std::string& cause, int exit_code, Decision& decision) {
  if (job.row.state != JobState::kStopping) jobs_.move(job, JobState::kStopping, cause, decision);
  const auto views = stages_of(job);
  for (auto& [position, row] : job.stages) {
    row.plan = progress_json(views[static_cast<std::size_t>(position)]);
    decision.writes.push_back(row);
  }
  jobs_.move(job, state, cause, decision);
  if (run_ != nullptr) {
    last_lease_ = run_->last_lease();
    publisher_.remember_data(job.row.job, run_->graph());
  }
  const std::int64_t tasks = run_ != nullptr ? run_->tasks_done() : 0;
  run_.reset();
  stopping_.reset();
  unpublished_.clear();
  unplanned_ = false;
  room_wanted_ = 0;
  publisher_.forget();
  jobs_.run_none();
  reporting_ = true;
  const std::string id = job.row.job;
  const store::EndState end = end_of(state);
  decision.after.push_back([this, id, end, cause, exit_code, tasks] {
    progress_written_ = {};
    write_progress(clock_.now());
    const auto reported = [this, end, cause, exit_code, tasks](const std::string& fault) {
      if (!fault.empty()) log_warning("service", "the report was not written: " + fault);
      queue_.push([this, end, cause, exit_code, tasks](Decision& next) {
        reporting_ = false;
        if (!options_.job) return;
        tasks_before_ = tasks;
        leave({end, cause, false, exit_code}, true, next);
      });
    };
    if (foreign_output_)
      reported("");  // nothing is written over what others have left
    else
      write_report(jobs_.find(id), reported);
  });
}

// After the commit of its last task: the ledger names every output.
void Service::commit_stages(Decision& decision) {
  for (const std::size_t stage : run_->take_committed_stages()) {
    if (running()->stages.at(static_cast<std::int64_t>(stage)).state == ledger::StageState::kCommitted)
      continue;
    publish(stage, decision);
  }
}

void Service::publish(std::size_t stage, Decision& decision) {
  publisher_.expect(jobs_.running_id(), stage);
  decision.after.push_back([this, id = jobs_.running_id(), stage] {
    if (jobs_.running_id() != id || run_ == nullptr) return;
    publisher_.write_stage(jobs_.find(id), stage, run_->graph(),
                           [this, id, stage](const std::string& fault, Decision& next) {
                             stage_written(id, stage, fault, next);
                           });
  });
}

void Service::stage_written(const std::string& job_id, std::size_t stage, const std::string& fault,
                            Decision& decision) {
  if (jobs_.running_id() != job_id || run_ == nullptr) return;
  if (!fault.empty() && publisher_.disk_was_full()) {
    unpublished_.push_back(stage);
    return pause(fault, decision);
  }
  if (!fault.empty()) return run_->fail(ErrorKind::kInvalid, "the outputs cannot be written: " + fault);
  Job& job = jobs_.find(job_id);
  jobs_.stage_committed(job, stage, progress_json(stages_of(job)[stage]), decision);
  decision.after.push_back([this] { checkpoints_.back_up(); });
}

}  // namespace trireme::coordinator::service

// What the API asks, answered after the commit; the documents it gets.
#include <algorithm>
#include <future>
#include <memory>

#include <unistd.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/base/host_name.h"
#include "common/base/log.h"
#include "common/io/hash.h"
#include "coordinator/planner/listing.h"
#include "coordinator/planner/plan_text.h"
#include "coordinator/service/service.h"
#include "jobs/checkpoint/checkpoint_config.h"
#include "jobs/specification/spec_paths.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::service {

using ledger::JobState;
using nlohmann::json;

template <class Result>
Result Service::ask(std::function<Result(Decision&)> body) {
  if (closed_)
    throw Error(ErrorKind::kUnavailable, "the coordinator is leaving", "ask again once it is back");
  auto promise = std::make_shared<std::promise<Result>>();
  auto future = promise->get_future();
  queue_.push([promise, body = std::move(body)](Decision& decision) {
    try {
      auto result = std::make_shared<Result>(body(decision));
      decision.after.push_back([promise, result] {
        fault_point("http.after_commit_before_response");
        promise->set_value(std::move(*result));
      });
    } catch (...) {
      promise->set_exception(std::current_exception());
    }
  });
  // An answer that does not come (a hung disk, the end of this process) must not hold the caller for ever.
  if (future.wait_for(std::chrono::seconds(30)) != std::future_status::ready)
    throw Error(ErrorKind::kUnavailable, "the coordinator does not answer", "ask again");
  return future.get();
}

void Service::make_absolute(jobs::JobSpec& job) const {
  jobs::make_paths_absolute(job, options_.working_folder);
  job.spec.store = store::store_of(job.spec);
  jobs::settle_models(job);
}

SubmitAnswer Service::submit(const std::string& spec_json, const std::string& idempotency_key) {
  auto read = jobs::read_job(spec_json);
  if (!read.ok()) return {SubmitAnswer::Outcome::kInvalid, "", "", read.faults};
  make_absolute(read.job);
  const std::uint64_t hash = io::xxh3_64(spec_json);
  return ask<SubmitAnswer>([this, job = std::move(read.job), hash, idempotency_key](Decision& decision) {
    if (!idempotency_key.empty())
      for (auto& [id, known] : jobs_.all()) {
        if (known.row.idempotency_key != idempotency_key) continue;
        if (known.row.body_hash != hash) return SubmitAnswer{SubmitAnswer::Outcome::kKeyReused, id, "", {}};
        return SubmitAnswer{SubmitAnswer::Outcome::kSameAsBefore, id, document_of(known), {}};
      }
    const auto waiting = std::count_if(jobs_.all().begin(), jobs_.all().end(), [](const auto& one) {
      return !ledger::is_terminal(one.second.row.state);
    });
    if (static_cast<std::size_t>(waiting) >= options_.most_jobs)
      return SubmitAnswer{
          SubmitAnswer::Outcome::kQueueFull, "", std::to_string(waiting) + " jobs are waiting already", {}};
    if (options_.job)
      throw Error(ErrorKind::kConflict, "this coordinator runs the one job it was started with",
                  "start one without --job to submit jobs to it");
    for (const auto& [id, known] : jobs_.all())
      if (!ledger::is_terminal(known.row.state) && known.spec.spec.output == job.spec.output)
        throw Error(ErrorKind::kConflict, id + " is not finished and writes to " + job.spec.output,
                    "cancel it, wait for it, or choose another output");
    if (paused_) throw Error(ErrorKind::kDiskFull, "the disk of the ledger is full", "free some space");
    Job& added = jobs_.add(job, idempotency_key, hash, decision);
    return SubmitAnswer{SubmitAnswer::Outcome::kCreated, added.row.job, document_of(added), {}};
  });
}

std::string Service::plan(const std::string& spec_json, std::vector<jobs::SpecFault>& faults) {
  auto read = jobs::read_job(spec_json);
  faults = read.faults;
  if (!read.ok()) return "";
  make_absolute(read.job);
  auto listed = planner::list_job(read.job, faults);
  return faults.empty() ? planner::plan_json(planner::make_plan(read.job, std::move(listed))) : "";
}

std::string Service::list_jobs(const std::string& state, std::int64_t limit, const std::string& page_token) {
  return ask<std::string>([this, state, limit, page_token](Decision&) {
    json listed = json::array();
    std::string next;
    for (auto found = jobs_.all().upper_bound(page_token); found != jobs_.all().end(); ++found) {
      if (!state.empty() && name_of(found->second.row.state) != state) continue;
      if (static_cast<std::int64_t>(listed.size()) == limit) {
        next = listed.back().at("id");
        break;
      }
      listed.push_back(json::parse(document_of(found->second)));
    }
    return json{{"jobs", std::move(listed)}, {"next_page_token", next}}.dump();
  });
}

std::string Service::describe(const std::string& job_id) {
  return ask<std::string>([this, job_id](Decision&) { return document_of(jobs_.find(job_id)); });
}

std::string Service::spec(const std::string& job_id) {
  return ask<std::string>([this, job_id](Decision&) { return jobs_.find(job_id).row.spec; });
}

std::string Service::events(const std::string& job_id, std::uint64_t after_sequence, std::int64_t limit) {
  return ask<std::string>([this, job_id, after_sequence, limit](Decision&) {
    jobs_.find(job_id);
    return events_json(ledger_.events(job_id, after_sequence, limit));
  });
}

std::string Service::cancel(const std::string& job_id) {
  return ask<std::string>([this, job_id](Decision& decision) {
    Job& job = jobs_.find(job_id);
    if (!ledger::is_terminal(job.row.state) && job.row.state != JobState::kStopping) {
      if (jobs_.runs(job) && !stopping_) {
        stop_running({JobState::kCancelled, 1, "cancelled by request", {}}, true, decision);
      } else if (!jobs_.runs(job)) {
        jobs_.move(job, JobState::kStopping, "cancelled by request", decision);
        jobs_.move(job, JobState::kCancelled, "cancelled by request", decision);
      }
    }
    return document_of(job);
  });
}

std::string Service::report(const std::string& job_id) {
  auto promise = std::make_shared<std::promise<std::string>>();
  auto future = promise->get_future();
  const std::string path = ask<std::string>([this, job_id, promise](Decision& decision) {
    const std::string file = (io::Path(jobs_.find(job_id).spec.spec.output) / "report.html").string();
    decision.after.push_back([this, job_id, promise] {
      write_report(jobs_.find(job_id), [promise](const std::string& fault) { promise->set_value(fault); });
    });
    return file;
  });
  const std::string fault = future.get();
  if (!fault.empty()) throw Error(ErrorKind::kUnavailable, "the report was not written: " + fault);
  return path;
}

void Service::write_report(const Job& job, std::function<void(const std::string& fault)> then) {
  if (run_ != nullptr && jobs_.runs(job)) publisher_.remember_data(job.row.job, run_->graph());
  publisher_.write_report(job, stages_of(job), std::move(then));
}

std::string Service::metric_targets() const {
  const std::string name = host_name();
  json groups = json::array();
  const auto add = [&](const std::string& target, json labels) {
    labels["run"] = ledger_.run_id();
    groups.push_back({{"targets", {target}}, {"labels", std::move(labels)}});
  };
  add(options_.host + ":" + std::to_string(metrics_.port()), {{"job", "trireme-coordinator"}});
  for (const auto& member : fleet_.members()) {
    if (member.hello.metrics_port == 0) continue;
    // A worker elsewhere that listens on its loopback cannot be reached: a target of it would only be down.
    if (member.hello.metrics_host == "127.0.0.1" && member.hello.host != name) continue;
    // The host as trireme_worker_up names it; the target may be an address.
    add(member.hello.metrics_host + ":" + std::to_string(member.hello.metrics_port),
        {{"job", "trireme-worker"}, {"host", member.hello.host}});
  }
  return groups.dump();
}

std::string Service::service_discovery() {
  return ask<std::string>([this](Decision&) { return metric_targets(); });
}

bool Service::ready(std::string& reasons) {
  if (!ready_) {
    reasons = closed_ ? "leaving" : "loading";
    return false;
  }
  reasons = ask<std::string>([this](Decision&) -> std::string {
    if (!fleet_.everyone_here()) return "workers have not reported yet";
    return paused_ ? "the disk is full" : "";
  });
  return reasons.empty();
}

std::vector<StageView> Service::stages_of(const Job& job) {
  std::vector<StageView> views;
  if (run_ == nullptr || !jobs_.runs(job)) {
    for (const auto& [position, row] : job.stages) views.push_back(stage_from_row(row));
    return views;
  }
  const auto& stages = run_->graph().stages();
  for (std::size_t i = 0; i < stages.size(); ++i) {
    StageView view{stages[i].name, stages[i].kind, "waiting", stages[i].implicit, run_->graph().progress(i)};
    view.task_seconds = run_->task_seconds(i);
    const bool begun = view.progress.tasks_done > 0 || run_->leased(i) > 0;
    if (view.progress.committed)
      view.state = "done";
    else if (begun && stopping_)
      view.state = stopping_->to == JobState::kFailed      ? "failed"
                   : stopping_->to == JobState::kCancelled ? "cancelled"
                                                           : "waiting";
    else if (begun)
      view.state = "running";
    views.push_back(std::move(view));
  }
  return views;
}

JobView Service::view_of(const Job& job) {
  JobView view;
  view.row = job.row;
  view.name = job.spec.name;
  view.output = job.spec.spec.output;
  view.stages = stages_of(job);
  view.active_seconds = jobs_.active_seconds(job);
  view.quarantine = quarantine_.views(job.row.job);
  if (!jobs_.runs(job) || run_ == nullptr) return view;
  view.training_stage = run_->training_stage();
  view.training = run_->last_step();
  for (const auto& member : fleet_.members()) {
    WorkerView worker{
        member.rank,         std::string(name_of(member.state)), member.hello.host,
        member.hello.device, run_->task_text(member.rank),       fleet_.speed_ratio(member.rank)};
    if (member.state == fleet::Liveness::kAlive) worker.state = idle_.contains(member.rank) ? "idle" : "busy";
    view.workers.push_back(std::move(worker));
  }
  return view;
}

void Service::publish_metrics() {
  for (const auto& member : fleet_.members()) {
    const std::string rank = std::to_string(member.rank);
    if (member.state == fleet::Liveness::kAwaited) continue;
    const bool up = member.state != fleet::Liveness::kDead && member.state != fleet::Liveness::kRetired;
    metrics_.set("trireme_worker_up", up ? 1 : 0, {{"worker", rank}, {"host", member.hello.host}});
    const double ago = seconds(clock_.now() - member.heard);
    metrics_.set("trireme_worker_last_heartbeat_timestamp_seconds",
                 std::chrono::duration<double>(clock_.wall().time_since_epoch()).count() - ago,
                 {{"worker", rank}});
    metrics_.set("trireme_worker_speed_ratio", fleet_.speed_ratio(member.rank), {{"worker", rank}});
  }
  double queued = 0;
  for (const auto& [id, job] : jobs_.all()) queued += job.row.state == JobState::kQueued;
  metrics_.set("trireme_jobs_queued", queued);
  for (const char* file : {"db", "wal"})
    metrics_.set("trireme_ledger_bytes", static_cast<double>(ledger_.file_bytes(file)), {{"file", file}});
  try {
    metrics_.set("trireme_disk_free_bytes", static_cast<double>(io::free_bytes(folder_.path())),
                 {{"root", folder_.path().string()}});
  } catch (const Error& error) {
    log_warning("service", error.what());
  }
  Job* job = running();
  if (job == nullptr || run_ == nullptr) return;
  const JobView view = view_of(*job);
  if (const auto kept = std::ranges::count(view.quarantine, "quarantined", &QuarantineView::state); kept > 0)
    metrics_.set("trireme_shards", static_cast<double>(kept), {{"stage", "all"}, {"state", "quarantined"}});
  for (std::size_t i = 0; i < view.stages.size(); ++i) {
    const auto& stage = view.stages[i];
    const auto leased = static_cast<double>(run_->leased(i));
    const auto known = static_cast<double>(stage.progress.tasks_known),
               done = static_cast<double>(stage.progress.tasks_done);
    metrics_.set("trireme_shards", known - done - leased, {{"stage", stage.name}, {"state", "pending"}});
    metrics_.set("trireme_shards", leased, {{"stage", stage.name}, {"state", "leased"}});
    metrics_.set("trireme_shards", done, {{"stage", stage.name}, {"state", "done"}});
    metrics_.set("trireme_job_progress_ratio", known > 0 ? done / known : 0,
                 {{"job", job->row.job}, {"stage", stage.name}});
  }
  if (const auto left = remaining_seconds(view))
    metrics_.set("trireme_job_eta_seconds", *left, {{"job", job->row.job}});
}

}  // namespace trireme::coordinator::service

#include "coordinator/cli/sweep_runs.h"

#include <algorithm>
#include <filesystem>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "coordinator/cli/client/format.h"
#include "coordinator/sweep/sweep_page.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {
namespace {

constexpr auto kReportPatience = std::chrono::seconds(10);

double seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

// Errors after which the same call may go through.
bool passing(const Error& error) {
  return error.kind() == ErrorKind::kUnavailable || error.kind() == ErrorKind::kTryAgain ||
         error.kind() == ErrorKind::kDiskFull || error.kind() == ErrorKind::kUnauthorised;
}

}  // namespace

SweepRuns::SweepRuns(const sweep::Sweep& sweep, sweep::Provenance provenance, bool retry_failed,
                     const Clock& clock, std::function<void(const std::string&)> say)
    : sweep_(sweep),
      provenance_(std::move(provenance)),
      retry_failed_(retry_failed),
      clock_(clock),
      say_(std::move(say)),
      results_(sweep.jobs.size()),
      handed_in_(sweep.jobs.size(), false),
      began_(clock.now()),
      last_end_(clock.now()),
      last_run_(sweep.jobs.size()) {
  const auto before = sweep::read_remembered(sweep_.output / "sweep.json");
  if (!before.started.empty()) provenance_.started = before.started;
  provenance_.sessions = before.sessions + 1;
  provenance_.wall_seconds = before.wall_seconds;
  std::int64_t known = 0;
  for (std::size_t i = 0; i < results_.size(); ++i) {
    const auto found = before.results.find(sweep_.jobs[i].key);
    if (found == before.results.end()) continue;
    results_[i] = found->second;
    if (results_[i].failed() && retry_failed_) results_[i] = {.attempt = found->second.attempt + 1};
    if (!results_[i].over()) results_[i].state = "QUEUED";
    known += results_[i].over() ? 1 : 0;
  }
  if (known > 0) say_(count_text(known) + (known == 1 ? " run is" : " runs are") + " already finished");
}

void SweepRuns::poll(const ApiClient& client) {
  try {
    for (std::size_t i = 0; i < results_.size(); ++i)
      if (!results_[i].over() && !handed_in_[i]) hand_in(client, i);
    cancel_others(client);
    // Jobs run one after another in the order of their ids: the first that is not over is the one to watch.
    std::vector<std::pair<std::string, std::size_t>> open;
    for (std::size_t i = 0; i < results_.size(); ++i)
      if (!results_[i].over()) open.emplace_back(results_[i].job_id, i);
    std::sort(open.begin(), open.end());
    for (const auto& [id, run] : open)
      if (!look_at(client, run)) break;
  } catch (const Error& error) {
    if (!passing(error)) throw;
  }
}

void SweepRuns::hand_in(const ApiClient& client, std::size_t run) {
  const auto& job = sweep_.jobs[run];
  auto& result = results_[run];
  try {
    const std::string key =
        "sweep-" + job.key + (result.attempt > 0 ? "-" + std::to_string(result.attempt) : "");
    const JobView view = job_view_from_json(client.post("/api/v1/jobs", jobs::effective_json(job.job), key));
    handed_in_[run] = true;
    result.job_id = view.id;
    result.state = "QUEUED";
    if (view.terminal()) collect(run, view);
  } catch (const Error& error) {
    if (passing(error)) throw;
    fail(run, std::string("the coordinator refused it: ") + error.what());
  }
}

// Jobs that the sweep file named when it was run before, and names no more.
void SweepRuns::cancel_others(const ApiClient& client) {
  if (alone_ || all_over()) return;
  std::string token;
  do {
    const JobPage page =
        job_page_from_json(client.get("/api/v1/jobs?limit=500&page_token=" + url_escaped(token)));
    for (const auto& job : page.jobs) {
      const bool ours = std::any_of(results_.begin(), results_.end(),
                                    [&](const auto& result) { return result.job_id == job.id; });
      if (ours || job.terminal()) continue;
      say_(printable(job.name, 80) + " is not in the sweep file any more and is cancelled");
      client.post("/api/v1/jobs/" + url_escaped(job.id) + ":cancel", "{}");
    }
    token = page.jobs.empty() ? "" : page.next_page_token;
  } while (!token.empty());
  alone_ = true;
}

bool SweepRuns::look_at(const ApiClient& client, std::size_t run) {
  const JobView view = job_view_from_json(client.get("/api/v1/jobs/" + url_escaped(results_[run].job_id)));
  if (view.terminal()) {
    collect(run, view);
    return true;
  }
  results_[run].state = view.state;
  for (const auto& worker : view.workers)
    if (!worker.device.empty()) devices_.insert(worker.device);
  running_ = view;
  running_->name =
      sweep_.rows[sweep_.jobs[run].row].label() + ", seed " + std::to_string(sweep_.jobs[run].seed);
  return false;
}

void SweepRuns::collect(std::size_t run, const JobView& view) {
  auto& result = results_[run];
  result.state = view.state;
  result.cause = view.state == "SUCCEEDED" ? "" : view.cause;
  result.seconds = view.active_seconds;
  result.commit = provenance_.commit;
  result.tasks_done = result.tasks_reused = 0;
  for (const auto& stage : view.stages) {
    result.tasks_done += stage.tasks_done;
    result.tasks_reused += stage.tasks_reused;
  }
  if (view.state == "SUCCEEDED") try {
      result.metrics = sweep::metrics_of(sweep_.jobs[run].job);
    } catch (const Error& error) {
      result.state = "FAILED";
      result.cause = error.what();
    }
  running_.reset();
  last_run_ = run;
  last_end_ = clock_.now();
  std::string line = sweep_.jobs[run].name + " " + result.state + " after " + duration_text(result.seconds);
  if (result.tasks_reused > 0)
    line += ", " + count_text(result.tasks_reused) + " of " + count_text(result.tasks_done) + " tasks reused";
  if (!result.cause.empty()) line += ": " + printable(result.cause, 400);
  write();
  say_(line);
}

void SweepRuns::fail(std::size_t run, const std::string& why) {
  results_[run].state = "FAILED";
  results_[run].cause = why;
  results_[run].commit = provenance_.commit;
  write();
  say_(sweep_.jobs[run].name + " FAILED: " + printable(why, 600));
}

bool SweepRuns::all_over() const {
  return std::all_of(results_.begin(), results_.end(), [](const auto& result) { return result.over(); });
}

bool SweepRuns::reports_written() const {
  if (last_run_ == sweep_.jobs.size() || clock_.now() - last_end_ > kReportPatience) return true;
  return io::exists(store::RunPaths{sweep_.jobs[last_run_].job.spec.output}.report());
}

std::int64_t SweepRuns::failed() const {
  return std::count_if(results_.begin(), results_.end(), [](const auto& result) { return result.failed(); });
}

std::int64_t SweepRuns::tasks_reused() const {
  std::int64_t reused = 0;
  for (const auto& result : results_) reused += result.tasks_reused;
  return reused;
}

// The mean of the finished runs for each that has not begun, and what the running one says of itself.
std::optional<double> SweepRuns::seconds_left() const {
  double sum = 0, finished = 0, open = 0;
  for (const auto& result : results_) {
    if (result.state == "SUCCEEDED") sum += result.seconds, ++finished;
    if (!result.over()) ++open;
  }
  const bool told = running_ && running_->eta_seconds.has_value();
  if (finished == 0 && !told) return std::nullopt;
  const double each = finished > 0 ? sum / finished : running_->active_seconds + *running_->eta_seconds;
  const double rest = told       ? *running_->eta_seconds
                      : running_ ? std::max(0.0, each - running_->active_seconds)
                                 : each;
  return open == 0 ? 0 : (open - 1) * each + rest;
}

std::string SweepRuns::headline() const {
  const auto done = std::count_if(results_.begin(), results_.end(),
                                  [](const auto& result) { return result.state == "SUCCEEDED"; });
  std::string text = sweep_.name + ": " + count_text(done) + " of " +
                     count_text(static_cast<std::int64_t>(results_.size())) + " runs done";
  if (failed() > 0) text += ", " + count_text(failed()) + " failed";
  if (const auto left = seconds_left(); left && !all_over())
    text += ", about " + duration_text(*left) + " left";
  return text;
}

sweep::Provenance SweepRuns::provenance_now() const {
  sweep::Provenance now = provenance_;
  now.wall_seconds += seconds(clock_.now() - began_);
  now.devices.assign(devices_.begin(), devices_.end());
  return now;
}

void SweepRuns::write() {
  const auto table = sweep::make_table(sweep_, results_);
  const auto made = provenance_now();
  io::write_file_atomic(sweep_.output / "sweep.json", sweep::sweep_json(sweep_, results_, table, made));
  io::write_file_atomic(sweep_.output / "sweep.csv", sweep::table_csv(sweep_, table));
  io::write_file_atomic(sweep_.output / "runs.csv", sweep::runs_csv(sweep_, results_, table));
  io::write_file_atomic(store::RunPaths{sweep_.output}.report(),
                        sweep::sweep_page(sweep_, results_, table, made));
}

std::string SweepRuns::table_text() const {
  return sweep::table_text(sweep_, results_, sweep::make_table(sweep_, results_), provenance_now());
}

}  // namespace trireme::coordinator::cli

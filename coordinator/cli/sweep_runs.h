// The runs of a sweep on a standing coordinator: handed in, followed, collected, written down. Owns the
// sweep's files; one thread. Each run has one idempotency key, so handing it in again, after any crash of any
// process, finds the same job; finished runs are remembered by sweep.json as well.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "coordinator/cli/client/api_client.h"
#include "coordinator/cli/client/job_view.h"
#include "coordinator/sweep/sweep_document.h"

namespace trireme::coordinator::cli {

class SweepRuns {
 public:
  // Takes up what <output>/sweep.json remembers. `retry_failed`: failed runs are run once more.
  SweepRuns(const sweep::Sweep& sweep, sweep::Provenance provenance, bool retry_failed, const Clock& clock,
            std::function<void(const std::string&)> say);

  // One round; returns at once when the coordinator is not there (yet, or again). A run that the coordinator
  // refuses is failed, with the reason.
  void poll(const ApiClient& client);

  bool all_over() const;
  // The report of the run that ended last is written, or has been waited for.
  bool reports_written() const;
  std::int64_t failed() const;
  const std::optional<JobView>& running() const { return running_; }
  std::string headline() const;  // "noise: 3 of 12 runs done, 1 failed, about 4 min left"

  void write();                    // sweep.json, sweep.csv, runs.csv, report.html
  std::string table_text() const;  // for people
  std::int64_t tasks_reused() const;

 private:
  void hand_in(const ApiClient& client, std::size_t run);
  void cancel_others(const ApiClient& client);
  bool look_at(const ApiClient& client, std::size_t run);  // true: it is over
  void collect(std::size_t run, const JobView& view);
  void fail(std::size_t run, const std::string& why);
  std::optional<double> seconds_left() const;
  sweep::Provenance provenance_now() const;

  const sweep::Sweep& sweep_;
  sweep::Provenance provenance_;
  bool retry_failed_;
  const Clock& clock_;
  std::function<void(const std::string&)> say_;
  std::vector<sweep::RunResult> results_;
  std::vector<bool> handed_in_;
  bool alone_ = false;  // no job of an earlier sweep file is left
  std::set<std::string> devices_;
  std::optional<JobView> running_;
  SteadyTime began_, last_end_;
  std::size_t last_run_;  // that ended; jobs.size(): none in this session
};

}  // namespace trireme::coordinator::cli

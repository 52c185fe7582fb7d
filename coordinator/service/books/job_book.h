// The jobs that the ledger knows, and which of them runs: one at a time, in submit order. Every edge of a
// job's state is written with its cause. State thread only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/telemetry/metrics.h"
#include "coordinator/ledger/ledger.h"
#include "coordinator/service/decision.h"
#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::service {

struct Job {
  ledger::JobRow row;
  jobs::JobSpec spec;
  std::map<std::int64_t, ledger::StageRow> stages;  // by position, from when it was planned
};

class JobBook {
 public:
  JobBook(ledger::Ledger& ledger, telemetry::Metrics& metrics, const Clock& clock);

  std::map<std::string, Job>& all() { return jobs_; }
  const std::map<std::string, Job>& all() const { return jobs_; }
  Job& find(const std::string& id);  // throws kNotFound

  Job& add(const jobs::JobSpec& spec, const std::string& key, std::uint64_t body_hash, Decision& decision);
  // --job: the unfinished job with this very specification goes on; another one in the way is cancelled.
  void adopt(const jobs::JobSpec& spec, Decision& decision);
  // Throws kInternal when there is no such edge.
  void move(Job& job, ledger::JobState to, const std::string& cause, Decision& decision);
  void plan_fixed(Job& job, const std::vector<std::pair<std::string, std::string>>& stages,  // name, kind
                  Decision& decision);
  void stage_committed(Job& job, std::size_t stage, const std::string& progress, Decision& decision);

  Job* running() { return running_.empty() ? nullptr : &jobs_.at(running_); }
  const std::string& running_id() const { return running_; }  // "" when none
  bool runs(const Job& job) const { return job.row.job == running_; }
  Job* shown() { return shown_.empty() ? nullptr : &jobs_.at(shown_); }  // the running or the last
  Job* run_next();  // the first that has not ended runs from here on; nullptr when there is none
  void run_none();
  double active_seconds(const Job& job) const;  // time it ran, over incarnations
  // Anything new of the running job is durable: the next start does not count as one without progress.
  void note_progress(Decision& decision);

 private:
  ledger::Ledger& ledger_;
  telemetry::Metrics& metrics_;
  const Clock& clock_;
  std::map<std::string, Job> jobs_;
  std::string running_, shown_;
  SteadyTime began_{};
  bool progressed_ = false;
};

}  // namespace trireme::coordinator::service

// The coordinator as an actor: events (mail, HTTP calls, timers) -> decision -> one ledger transaction ->
// messages out. One state thread (the caller of run()), one control thread (control.h), one helper thread
// (background.h). Runs one job at a time in submit order; every edge of a job's state is a transaction.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/io/door.h"
#include "common/mailbox/mailbox.h"
#include "coordinator/ledger/ledger.h"
#include "coordinator/service/background.h"
#include "coordinator/service/books/checkpoint_book.h"
#include "coordinator/service/books/job_book.h"
#include "coordinator/service/books/publisher.h"
#include "coordinator/service/books/quarantine_book.h"
#include "coordinator/service/control.h"
#include "coordinator/service/describe.h"
#include "coordinator/service/event_queue.h"
#include "coordinator/service/face.h"
#include "coordinator/service/job_run.h"
#include "coordinator/service/run_folder.h"

namespace trireme::coordinator::service {

struct ServiceOptions {
  std::optional<jobs::JobSpec> job;  // --job: run this one and end; paths absolute
  jobs::TimeoutSpec timeouts;        // until a job brings its own
  // Looks up shards and weights, on the helper thread; empty: planner::list_job.
  std::function<planner::ListedJob(const jobs::JobSpec&)> list;
  std::string working_folder;      // relative paths of submitted specs start here
  std::optional<io::Roots> roots;  // the folders of submitted jobs; none: they go where they like
  std::chrono::milliseconds try_disk_after{60000};  // although no room is seen
  std::size_t most_jobs = 1000;                     // that are not over
  int supervisor_pid = 0;                           // 0: none
  std::string host = "127.0.0.1";                   // of this process' exporter
};

struct Outcome {
  int exit_code = 0;
  bool orderly = true;  // false: leave by _exit at once, ranks may be dead or stuck
  std::string reason;
};

class Service final : public Face {
 public:
  Service(ServiceOptions options, RunFolder& folder, ledger::Ledger& ledger, std::unique_ptr<Mailbox> mailbox,
          telemetry::Metrics& metrics, const Clock& clock);
  ~Service() override;

  Outcome run();          // until the job, or the standing coordinator, ends
  void stop_by_signal();  // any thread; the first: checkpoint and stop; the second: leave at once

  SubmitAnswer submit(const std::string& spec_json, const std::string& idempotency_key) override;
  std::string plan(const std::string& spec_json, std::vector<jobs::SpecFault>& faults) override;
  std::string list_jobs(const std::string& state, std::int64_t limit, const std::string& page_token) override;
  std::string describe(const std::string& job_id) override;
  std::string spec(const std::string& job_id) override;
  std::string events(const std::string& job_id, std::uint64_t after_sequence, std::int64_t limit) override;
  std::string cancel(const std::string& job_id) override;
  std::string report(const std::string& job_id) override;
  std::string service_discovery() override;
  bool ready(std::string& reasons) override;

 private:
  // Why the running job takes no more work.
  struct Stopping {
    ledger::JobState to = ledger::JobState::kFailed;  // kRecovering: stopped by a signal
    int exit_code = 1;
    std::string cause;
    SteadyTime deadline{};
  };

  // service.cpp
  std::string rules_of_the_house() const;
  void tick(Decision& decision);
  void review_fleet(SteadyTime now, Decision& decision);
  void watch_supervisor(SteadyTime now, Decision& decision);
  void watch_disk(SteadyTime now, Decision& decision);
  void pause(const std::string& why, Decision& decision);
  void resume(Decision& decision);
  std::uint64_t room_of_job();
  void commit_and_act(Decision& decision);
  void commit_in_reserve(Decision& decision);
  void end_incarnation(const std::string& reason, Decision& decision);
  void leave(store::Terminal terminal, bool orderly, Decision& decision);
  std::int64_t progress_number(std::int64_t tasks) const;
  void publish_metrics();
  void write_progress(SteadyTime now);
  // service_mail.cpp
  void handle(Arrival& arrival, Decision& decision);
  void hello(const Arrival& arrival, const jobs::Hello& hello, Decision& decision);
  void retire(Rank rank, const std::string& why, Decision& decision);
  void retire_beside_gpus(Decision& decision);
  void checkpoint_written(const Arrival& arrival, const jobs::CheckpointWritten& written, Decision& decision);
  void checkpoint_sealed(LeaseId lease, const ledger::CheckpointRow* row, Decision& decision);
  void checkpoint_failed(Decision& decision);
  void prepare_gangs();
  void gang_found(const planner::TaskRef& ref, const CheckpointBook::Start& start, Decision& decision);
  // service_jobs.cpp
  void pick_next(Decision& decision);
  void begin(Job& job, Decision& decision);
  void planned(const std::string& job_id, std::unique_ptr<planner::TaskGraph> graph, Decision& decision);
  void note_crashes(Job& job, Decision& decision);
  void look_and_plan(const Job& job);
  bool knows_output(const Job& job) const;
  void settle(SteadyTime now, Decision& decision);
  void stop_running(Stopping stopping, bool checkpoint_first, Decision& decision);
  void end_job(Job& job, ledger::JobState state, const std::string& cause, int exit_code, Decision& decision);
  void commit_stages(Decision& decision);
  void publish(std::size_t stage, Decision& decision);
  void stage_written(const std::string& job_id, std::size_t stage, const std::string& fault,
                     Decision& decision);
  Job* running() { return jobs_.running(); }
  // service_face.cpp
  void make_absolute(jobs::JobSpec& job) const;
  JobView view_of(const Job& job);
  std::vector<StageView> stages_of(const Job& job);
  std::string metric_targets() const;  // state thread; http_sd and file_sd
  std::string document_of(const Job& job) { return describe_job(view_of(job)); }
  void write_report(const Job& job, std::function<void(const std::string& fault)> then);
  // Runs `body` on the state thread; its result is handed over after the commit. Errors come back as thrown.
  template <class Result>
  Result ask(std::function<Result(Decision&)> body);

  ServiceOptions options_;
  RunFolder& folder_;
  ledger::Ledger& ledger_;
  telemetry::Metrics& metrics_;
  const Clock& clock_;
  fleet::Limits limits_;
  fleet::Fleet fleet_;
  std::set<Rank> idle_;
  std::unique_ptr<JobRun> run_;
  std::optional<Stopping> stopping_;
  std::optional<Outcome> outcome_;
  LeaseId last_lease_;
  SteadyTime opened_, reviewed_{}, progress_written_{}, metrics_written_{}, supervisor_gone_{},
      disk_looked_{};
  std::int64_t tasks_before_ = 0;  // of the job that has just ended
  int signals_ = 0;
  SteadyTime paused_at_{};
  std::uint64_t room_wanted_ = 0;         // bytes, where the job writes; 0: the ledger's disk alone was full
  std::vector<std::size_t> unpublished_;  // stages whose outputs a full disk has kept back
  bool unplanned_ = false;                // so has it the job's plan
  bool paused_ = false, reporting_ = false, recovered_ = false, more_to_grant_ = false;
  std::atomic<bool> ready_{false}, closed_{false};
  bool foreign_output_ = false;  // the running job was refused: its output holds what others have left
  bool afresh_ = false;  // the ledger was begun beside what others have left (ledger restore --afresh)
  EventQueue queue_;
  std::unique_ptr<const io::Door> door_;  // of submitted jobs, null without roots
  Background background_;
  JobBook jobs_;
  CheckpointBook checkpoints_;
  QuarantineBook quarantine_;
  Publisher publisher_;
  std::unique_ptr<Control> control_;
};

}  // namespace trireme::coordinator::service

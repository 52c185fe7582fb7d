#include "coordinator/cli/recovery/audit_command.h"

#include <algorithm>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "coordinator/checkpoints/manifest.h"
#include "coordinator/ledger/result_json.h"
#include "coordinator/ledger/start_check.h"
#include "jobs/specification/job_spec.h"
#include "jobs/store/receipt.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {
namespace {

using nlohmann::json;

// A copy, so that nothing of the run is changed and its lock is not needed for long.
class LedgerCopy {
 public:
  explicit LedgerCopy(const io::Path& run_folder)
      : scratch_(run_folder / ".audit"), database_(copied(run_folder, scratch_)) {
    ledger::set_up(database_);
    ledger::check_ledger(database_, store::RunPaths{run_folder}.ledger() / "mark");
  }
  ~LedgerCopy() { io::remove_tree(scratch_); }
  LedgerCopy(const LedgerCopy&) = delete;
  LedgerCopy& operator=(const LedgerCopy&) = delete;

  template <class Row>
  std::vector<Row> rows(ledger::Table table, Row (*of)(const ledger::Statement&)) {
    std::vector<Row> found;
    ledger::Statement statement(database_, ledger::select_sql(table));
    while (statement.step()) found.push_back(of(statement));
    return found;
  }

 private:
  static io::Path copied(const io::Path& run_folder, const io::Path& scratch) {
    const io::Path folder = store::RunPaths{run_folder}.ledger();
    if (!io::exists(folder / "state.db"))
      throw Error(ErrorKind::kNotFound, folder.string() + " holds no ledger", "name a run folder");
    io::remove_tree(scratch);  // ours: of an audit that was killed
    for (const char* name : {"state.db", "state.db-wal"})
      if (io::exists(folder / name))
        io::write_file_atomic(scratch / name, io::read_file(folder / name, ~std::uint64_t{0}), false, 0600);
    return scratch / "state.db";
  }
  io::Path scratch_;
  ledger::Database database_;
};

class Auditor {
 public:
  Auditor(LedgerCopy& ledger, Audit& audit) : ledger_(ledger), audit_(audit) {}

  void run(const io::Path& like) {
    const auto leases = ledger_.rows(ledger::Table::kLeases, ledger::lease_from);
    for (const auto& job : ledger_.rows(ledger::Table::kJobs, ledger::job_from)) {
      job_ = job.job;
      ++audit_.jobs;
      const auto read = jobs::read_job(job.spec);
      if (!read.ok()) {
        found("its specification cannot be read: " + read.faults.front().detail);
        continue;
      }
      const auto& spec = read.job.spec;
      check_leases(leases, ledger::is_terminal(job.state));
      for (const auto& stage : spec.stages)
        if (std::holds_alternative<jobs::TrainSettings>(stage.settings))
          check_log(store::RunPaths{spec.output}.stage(stage.name) / "log.jsonl",
                    job.state == ledger::JobState::kSucceeded, like, stage.name);
      if (ledger::is_terminal(job.state)) check_leftovers(store::store_of(spec));
      if (!like.empty()) compare_models(store::RunPaths{spec.output}.model(), store::RunPaths{like}.model());
    }
    job_.clear();
    for (const auto& row : ledger_.rows(ledger::Table::kCheckpoints, ledger::checkpoint_from)) {
      if (row.state != ledger::CheckpointState::kCommitted) continue;
      ++audit_.checkpoints;
      if (const std::string fault = checkpoints::checkpoint_fault(row); !fault.empty()) found(fault);
    }
  }

 private:
  void found(const std::string& what) { audit_.findings.push_back({job_, what}); }

  void check_leases(const std::vector<ledger::LeaseRow>& leases, bool over) {
    std::map<std::pair<std::string, std::string>, LeaseId> done;  // task and address
    for (const auto& lease : leases) {
      if (lease.job != job_) continue;
      if (over && lease.state == ledger::LeaseState::kGranted)
        found("lease " + std::to_string(lease.lease.value) + " of task " + lease.task + " was never ended");
      if (lease.state != ledger::LeaseState::kDone) continue;
      ++audit_.tasks;
      const auto [first, fresh] = done.emplace(std::pair(lease.task, lease.address), lease.lease);
      if (!fresh)
        found("task " + lease.task + " is done twice, by leases " + std::to_string(first->second.value) +
              " and " + std::to_string(lease.lease.value));
      for (const auto& output : ledger::result_from_json(lease.result, lease.lease).outputs) {
        ++audit_.outputs;
        check_output(lease.task, output);
      }
    }
  }

  void check_output(const std::string& task, const jobs::OutputFile& output) {
    try {
      const auto now = store::describe_output(output.name, output.path);
      if (now.bytes != output.bytes || now.xxh3 != output.xxh3)
        found("output " + output.path + " of task " + task + " has " + std::to_string(now.bytes) +
              " bytes and xxh3 " + io::hex(now.xxh3) + ", the ledger says " + std::to_string(output.bytes) +
              " and " + io::hex(output.xxh3));
    } catch (const Error& error) {
      found("output of task " + task + ": " + error.what());
    }
  }

  void check_log(const io::Path& file, bool finished, const io::Path& like, const std::string& stage) {
    if (!io::exists(file)) {
      if (finished) found("there is no " + file.string());
      return;
    }
    std::map<std::int64_t, std::int64_t> live;  // of an epoch
    std::map<std::int64_t, std::set<std::string>> orders;
    std::vector<std::pair<std::string, double>> rows;
    io::LineReader lines(file);
    std::int64_t next = 1, epoch = 0;
    for (std::string line; lines.next(line); ++next) {
      const json row = json::parse(line, nullptr, false);
      if (!row.is_object() || row.value("step", std::int64_t{0}) != next) {
        found(file.string() + ":" + std::to_string(next) + " is not the row of step " + std::to_string(next));
        return;
      }
      const auto of = row.value("epoch", std::int64_t{-1});
      if (of < epoch)
        found(file.string() + ":" + std::to_string(next) + " goes back to epoch " + std::to_string(of));
      epoch = of;
      const std::string order = row.contains("order_hash") ? row["order_hash"].dump() : "";
      if (!orders[of].insert(order).second)
        found(file.string() + ":" + std::to_string(next) +
              " trains the samples of an earlier step of its epoch");
      live[of] += row.value("live", std::int64_t{0});
      rows.emplace_back(order, row.value("loss", 0.0));
      ++audit_.steps;
    }
    for (const auto& [of, samples] : live) {
      audit_.samples += static_cast<std::uint64_t>(samples);
      if (samples != live.begin()->second && (finished || of != live.rbegin()->first))
        found("epoch " + std::to_string(of) + " of stage " + stage + " trained " + std::to_string(samples) +
              " samples, the first one " + std::to_string(live.begin()->second));
    }
    if (!like.empty()) compare_logs(rows, store::RunPaths{like}.stage(stage) / "log.jsonl");
  }

  void compare_logs(const std::vector<std::pair<std::string, double>>& rows, const io::Path& other) {
    io::LineReader lines(other);
    std::size_t at = 0;
    for (std::string line; lines.next(line); ++at) {
      const json row = json::parse(line, nullptr, false);
      const std::string order = row.is_object() && row.contains("order_hash") ? row["order_hash"].dump() : "";
      if (at < rows.size() && (order != rows[at].first || row.value("loss", 0.0) != rows[at].second)) {
        found("step " + std::to_string(at + 1) + " is another one than in " + other.string());
        return;
      }
    }
    if (at != rows.size())
      found(other.string() + " has " + std::to_string(at) + " steps, this run " +
            std::to_string(rows.size()));
  }

  void compare_models(const io::Path& ours, const io::Path& theirs) {
    for (const char* name : {"model.safetensors"}) {
      if (!io::exists(ours / name) && !io::exists(theirs / name)) continue;
      if (!io::exists(ours / name) || !io::exists(theirs / name) ||
          io::xxh3_of_file(ours / name) != io::xxh3_of_file(theirs / name))
        found((ours / name).string() + " differs from " + (theirs / name).string());
    }
  }

  void check_leftovers(const io::Path& folder) {
    if (!io::is_folder(folder)) return;
    for (const auto& file : io::files_below(folder))
      if (file.filename().string().find(".tmp") != std::string::npos) found("half written: " + file.string());
  }

  LedgerCopy& ledger_;
  Audit& audit_;
  std::string job_;
};

}  // namespace

Audit audit_run(const io::Path& run_folder, const io::Path& like) {
  const io::FileLock lock(store::RunPaths{run_folder}.lock());
  LedgerCopy ledger(run_folder);
  Audit audit;
  Auditor(ledger, audit).run(like);
  return audit;
}

int audit_command(const io::Path& run_folder, const io::Path& like, bool as_json, std::ostream& out) {
  const Audit audit = audit_run(run_folder, like);
  if (as_json) {
    json findings = json::array();
    for (const auto& one : audit.findings) findings.push_back({{"job", one.job}, {"what", one.what}});
    out << json{{"jobs", audit.jobs},   {"tasks", audit.tasks},     {"outputs", audit.outputs},
                {"steps", audit.steps}, {"samples", audit.samples}, {"checkpoints", audit.checkpoints},
                {"findings", findings}}
               .dump(2)
        << "\n";
  } else {
    for (const auto& one : audit.findings)
      out << (one.job.empty() ? "" : one.job + ": ") << printable(one.what, 1000) << "\n";
    out << audit.jobs << " jobs, " << audit.tasks << " tasks, " << audit.outputs << " outputs, "
        << audit.checkpoints << " checkpoints, " << audit.steps << " steps with " << audit.samples
        << " samples: "
        << (audit.findings.empty() ? "all as promised" : std::to_string(audit.findings.size()) + " findings")
        << "\n";
  }
  return audit.findings.empty() ? 0 : exit_code(ErrorKind::kDamaged);
}

}  // namespace trireme::coordinator::cli

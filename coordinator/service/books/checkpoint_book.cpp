#include "coordinator/service/books/checkpoint_book.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/door.h"
#include "common/io/folder.h"
#include "coordinator/checkpoints/difference.h"
#include "coordinator/ledger/recovery/backup.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::service {
namespace {

using Rows = std::vector<ledger::CheckpointRow>;

// A backup may cost so much of the time: the state thread stands still while the ledger is copied.
constexpr double kShareOfTime = 0.02;
constexpr std::uint64_t kRoomLeft = 64U << 20;  // for others, besides the copy and the one that verifies it

std::string kind_of(const std::exception& failure) {
  const auto* error = dynamic_cast<const Error*>(&failure);
  return std::string(name_of(error != nullptr ? error->kind() : ErrorKind::kInternal));
}

// For the refusal of a checkpoint that a person has named.
std::string what_differs(const ledger::CheckpointRow& row, const std::string& spec) {
  const auto manifest = checkpoints::read_manifest(row.folder);
  std::string text;
  if (manifest && !manifest->spec.empty())
    for (const auto& one : checkpoints::differences(manifest->spec, spec, row.stage))
      text += (text.empty() ? "" : ", ") + one.setting + " was " + (one.was.empty() ? "absent" : one.was) +
              " and is " + (one.now.empty() ? "absent" : one.now);
  return text.empty() ? "its data or the outputs of an earlier stage are others" : text;
}

}  // namespace

CheckpointBook::CheckpointBook(World world) : world_(std::move(world)), rows_(world_.ledger->checkpoints()) {}

checkpoints::KnownCheckpoints CheckpointBook::known() const {
  return {rows_, world_.ledger->run_id(), world_.ledger->first_incarnation(),
          world_.ledger->incarnation().value};
}

bool CheckpointBook::knows_of(const io::Path& output) const {
  return std::any_of(rows_.begin(), rows_.end(), [&](const auto& row) {
    return io::Path(row.folder).parent_path().parent_path() == store::RunPaths{output}.checkpoints();
  });
}

checkpoints::Survey CheckpointBook::look_into(const io::Path& output,
                                              const checkpoints::KnownCheckpoints& known, bool output_known) {
  auto survey = checkpoints::survey_checkpoints(output, known);
  if (!survey.unknown.empty()) {
    std::vector<std::string> found;
    for (const auto& manifest : survey.unknown)
      found.push_back(manifest.folder.lexically_relative(output).string() + " of " + manifest.run_id);
    checkpoints::refuse_unknown(output, "checkpoints that this ledger does not know", found);
  }
  if (!output_known && survey.adopted.empty())
    if (const auto found = checkpoints::results_in(output); !found.empty())
      checkpoints::refuse_unknown(output, "results that this ledger does not know", found);
  for (const auto& fault : survey.broken)
    log_warning("service", "a checkpoint that was never committed is left alone: " + fault);
  for (const auto& path : survey.leftovers) io::remove_tree(path);  // survey.h says why nobody wants them
  return survey;
}

void CheckpointBook::take_up(const checkpoints::Survey& survey, Decision& decision) {
  for (const auto& row : survey.adopted) {
    log_info("service",
             "the checkpoint of step " + std::to_string(row.step) + " was whole but not yet committed");
    put(row, "CheckpointCommitted", decision);
  }
}

void CheckpointBook::put(const ledger::CheckpointRow& row, const std::string& event, Decision& decision) {
  const auto found =
      std::find_if(rows_.begin(), rows_.end(), [&](const auto& other) { return other.folder == row.folder; });
  if (found == rows_.end())
    rows_.push_back(row);
  else
    *found = row;
  decision.writes.push_back(row);
  decision.event(event, row.job, payload({{"step", row.step}}));
}

// The rows first; the files go once that is durable.
void CheckpointBook::retire(const Rows& rows, Decision& decision) {
  for (ledger::CheckpointRow row : rows) {
    row.state = ledger::CheckpointState::kRetired;
    put(row, "CheckpointRetired", decision);
    decision.after.push_back(
        [this, folder = row.folder] { world_.aside->run([folder] { io::remove_tree(folder); }); });
  }
}

void CheckpointBook::seal(checkpoints::SealOrder order, std::int64_t keep_last, Sealed then) {
  auto& metrics = *world_.metrics;
  metrics.observe("trireme_checkpoint_duration_seconds", order.written.stall_seconds, {{"part", "stall"}});
  metrics.observe("trireme_checkpoint_duration_seconds", order.written.write_seconds, {{"part", "write"}});
  ++sealing_;
  world_.aside->run([this, &metrics, order = std::move(order), keep_last, then = std::move(then)] {
    const auto begin = std::chrono::steady_clock::now();
    try {
      const ledger::CheckpointRow row = checkpoints::seal_checkpoint(order);
      metrics.observe("trireme_checkpoint_duration_seconds",
                      seconds(std::chrono::steady_clock::now() - begin), {{"part", "verify"}});
      world_.events->push([this, row, keep_last, then](Decision& decision) {
        --sealing_;
        sealed(row, keep_last, decision);
        then(&row, decision);
      });
    } catch (const std::exception& failure) {
      metrics.count("trireme_checkpoint_failures_total", 1, {{"cause", kind_of(failure)}});
      log_warning("service",
                  std::string("a checkpoint was not committed, training goes on: ") + failure.what());
      const auto* known = dynamic_cast<const Error*>(&failure);
      const Error error = known != nullptr ? *known : Error(ErrorKind::kInternal, failure.what());
      world_.events->push([this, error, then](Decision& decision) {
        --sealing_;
        failure_ = error;
        if (!failing_since_) failing_since_ = world_.clock->now();
        then(nullptr, decision);
      });
    }
  });
}

const Error* CheckpointBook::hopeless(double fail_after_seconds) const {
  const bool yes = failing_since_ && seconds(world_.clock->now() - *failing_since_) >= fail_after_seconds;
  return yes ? &*failure_ : nullptr;
}

void CheckpointBook::sealed(const ledger::CheckpointRow& row, std::int64_t keep_last, Decision& decision) {
  failing_since_.reset();
  highest_step_ = std::max(highest_step_, row.step);
  resume_step_ = row.step;
  put(row, "CheckpointCommitted", decision);
  retire(checkpoints::superseded(rows_, row, keep_last), decision);
  auto& metrics = *world_.metrics;
  metrics.set("trireme_checkpoint_bytes", static_cast<double>(row.bytes));
  metrics.set("trireme_checkpoint_last_step", static_cast<double>(row.step));
  metrics.set("trireme_checkpoint_last_success_timestamp_seconds",
              std::chrono::duration<double>(world_.clock->wall().time_since_epoch()).count());
  decision.after.push_back([this] {
    world_.ledger->sync_mark();
    back_up();
  });
}

const ledger::CheckpointRow* CheckpointBook::chosen_for(const jobs::Task& task) const {
  for (const auto& row : rows_)
    if (row.state == ledger::CheckpointState::kChosen &&
        io::Path(row.folder).parent_path() == io::Path(task.checkpoint_folder))
      return &row;
  return nullptr;
}

void CheckpointBook::find_start(const jobs::Task& task, const std::string& spec,
                                std::function<void(const Start&, Decision&)> then) {
  Rows candidates = checkpoints::resumable(rows_, task.checkpoint_folder, task.address);
  const auto* chosen = chosen_for(task);
  if (chosen != nullptr) candidates = {*chosen};
  world_.aside->run([this, task, spec, candidates, then = std::move(then)]() mutable {
    Start start;
    std::string first_fault;
    for (auto& row : candidates) {
      std::string fault;
      if (row.address != task.address) {
        fault = "the checkpoint " + row.folder + " was made with other settings: " + what_differs(row, spec);
        start.kind = ErrorKind::kInvalid;
      } else {
        fault = checkpoints::checkpoint_fault(row);
      }
      if (fault.empty()) {
        row.state =
            row.state == ledger::CheckpointState::kChosen || row.state == ledger::CheckpointState::kAdopted
                ? ledger::CheckpointState::kAdopted
                : ledger::CheckpointState::kCommitted;
        start.resume_from = row.folder;
        start.step = row.step;
        break;
      }
      log_error("service", "checkpoint of step " + std::to_string(row.step) + " cannot be used: " + fault);
      if (row.state == ledger::CheckpointState::kCommitted) row.state = ledger::CheckpointState::kBad;
      if (first_fault.empty()) first_fault = fault;
    }
    if (start.resume_from.empty()) start.fault = first_fault;
    world_.events->push([this, task, start, candidates, then](Decision& decision) {
      started(task, start, candidates, decision);
      then(start, decision);
    });
  });
}

// Where none can be used, none is written off: what is missing may be a disk that is not mounted.
void CheckpointBook::started(const jobs::Task& task, const Start& start, const Rows& looked_at,
                             Decision& decision) {
  resume_step_ = start.step;
  if (!start.fault.empty()) return;
  for (const auto& row : looked_at) {
    const auto known = std::find_if(rows_.begin(), rows_.end(),
                                    [&](const auto& other) { return other.folder == row.folder; });
    if (known != rows_.end() && known->state != row.state &&
        known->state != ledger::CheckpointState::kRetired)
      put(row, row.state == ledger::CheckpointState::kBad ? "CheckpointBad" : "CheckpointCommitted",
          decision);
  }
  if (start.resume_from.empty()) return;
  highest_step_ = std::max(highest_step_, start.step);
  log_info("service", "stage " + task.stage + " resumes at step " + std::to_string(start.step));
}

void CheckpointBook::settle_others(const jobs::Task& task, bool keep, Decision& decision) {
  Rows others;
  std::uint64_t bytes = 0;
  for (const auto& row : rows_)
    if (row.state == ledger::CheckpointState::kCommitted && row.address != task.address &&
        io::Path(row.folder).parent_path() == io::Path(task.checkpoint_folder)) {
      others.push_back(row);
      bytes += row.bytes;
    }
  if (others.empty()) return;
  log_info("service", std::to_string(others.size()) + " checkpoints of other settings of stage " +
                          task.stage + " (" + std::to_string(bytes >> 20) + " MiB) " +
                          (keep ? "are kept: see 'trireme checkpoints'" : "are retired, as the job says"));
  if (!keep) retire(others, decision);
}

void CheckpointBook::back_up() {
  const SteadyTime now = world_.clock->now();
  if (backing_up_ || now < next_backup_) return;
  const auto failed = [this](const std::exception& failure) {
    world_.metrics->count("trireme_ledger_errors_total", 1, {{"code", "backup_" + kind_of(failure)}});
    log_warning("service", std::string("no backup of the ledger, the run goes on: ") + failure.what());
  };
  io::Path snapshot;
  try {
    const auto bytes = world_.ledger->file_bytes("db") + world_.ledger->file_bytes("wal");
    if (io::free_bytes(world_.run_folder) < 4 * bytes + kRoomLeft)
      throw Error(ErrorKind::kDiskFull, "there is little room in " + world_.run_folder.string());
    snapshot = ledger::snapshot_place(world_.run_folder);
    world_.ledger->snapshot(snapshot);
    world_.ledger->merge_wal();
  } catch (const Error& error) {
    if (!snapshot.empty()) io::remove_file(snapshot);  // half made
    return failed(error);
  }
  const auto cost = world_.clock->now() - now;
  next_backup_ = world_.clock->now() + std::chrono::duration_cast<SteadyTime::duration>(cost / kShareOfTime);
  backing_up_ = true;
  world_.aside->run([this, snapshot, failed] {
    const io::Behind nothing(nullptr);  // the ledger is no job's
    try {
      ledger::keep_backup(snapshot, world_.run_folder);
    } catch (const std::exception& failure) {
      io::remove_file(snapshot);  // what does not verify is no backup
      failed(failure);
    }
    world_.events->push([this](Decision&) { backing_up_ = false; });
  });
}

}  // namespace trireme::coordinator::service

#include "coordinator/service/books/publisher.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>

#include "common/base/error.h"
#include "coordinator/ledger/result_json.h"
#include "coordinator/planner/sources/shard_identity.h"
#include "coordinator/report/report.h"
#include "coordinator/service/books/outputs.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::service {
namespace {

// "" or what `body` threw.
std::string fault_of(const std::function<void()>& body, bool* disk_full = nullptr) {
  try {
    body();
    return "";
  } catch (const std::exception& failure) {
    const auto* error = dynamic_cast<const Error*>(&failure);
    if (disk_full != nullptr) *disk_full = error != nullptr && error->kind() == ErrorKind::kDiskFull;
    return failure.what();
  }
}

// What was read before the change and what was read after it do not belong together.
void refuse_changed(const std::vector<planner::ListedFile>& files) {
  if (const std::string path = planner::changed_file(files); !path.empty())
    throw Error(ErrorKind::kInvalid, path + " has changed while the job read it",
                "start the job again: what was made of it is made anew");
}

// A span per worker of the lease ("3", or of a gang "1,2,3"); a lease that still runs has no end yet, one
// that was adopted from the store no worker.
void add_spans(std::vector<report::ReportSpan>& spans, const ledger::LeaseRow& row, const std::string& stage,
               std::int64_t started_ms) {
  constexpr std::size_t kMostSpans = 200000;
  if (row.ended_ms < row.granted_ms || row.workers.empty()) return;
  const auto since = [&](std::int64_t time) { return static_cast<double>(time - started_ms) / 1000; };
  std::istringstream ranks(row.workers);
  for (std::string rank; std::getline(ranks, rank, ',') && spans.size() < kMostSpans;)
    if (const int worker = std::atoi(rank.c_str()); worker > 0)
      spans.push_back({stage, worker, since(row.granted_ms), since(row.ended_ms),
                       row.state != ledger::LeaseState::kDone});
}

void add_lease(report::ReportInput& input, const ledger::LeaseRow& row, bool counts,
               std::int64_t started_ms) {
  if (static_cast<std::size_t>(row.stage) >= input.stages.size()) return;
  auto& stage = input.stages[static_cast<std::size_t>(row.stage)];
  if (counts)
    for (const auto& file : ledger::result_from_json(row.result, row.lease).outputs) {
      const auto made_by = [&](jobs::TaskKind kind) {
        return file.name.empty() && file.path.ends_with(jobs::row_of(kind).extension);
      };
      if (file.name == jobs::row_of(jobs::TaskKind::kFilter).beside)
        stage.thumbnail_files.push_back(file.path);
      if (made_by(jobs::TaskKind::kMeasure)) stage.facts_files.push_back(file.path);
      if (made_by(jobs::TaskKind::kCaption)) stage.caption_files.push_back(file.path);
    }
  add_spans(input.timeline, row, stage.name, started_ms);
}

}  // namespace

void Publisher::write_stage(const Job& job, std::size_t stage, const planner::TaskGraph& graph,
                            Written then) {
  const auto& row = job.stages.at(static_cast<std::int64_t>(stage));
  // Each task once: one that a later start took from the store again has two leases of one address.
  std::map<planner::TaskRef, CommittedTask> newest;
  ledger_.for_each_lease(job.row.job, static_cast<std::int64_t>(stage), [&](const ledger::LeaseRow& lease) {
    if (lease.state != ledger::LeaseState::kDone) return;
    const planner::TaskRef ref = planner::task_ref_from_key(lease.task);
    if (lease.address == graph.address_of(ref))  // not what was made of an input that has changed since
      newest.insert_or_assign(
          ref,
          CommittedTask{lease.task, ledger::result_from_json(lease.result, lease.lease), graph.kind(ref)});
  });
  std::vector<CommittedTask> tasks;
  for (auto& [ref, task] : newest) tasks.push_back(std::move(task));
  std::vector<planner::ListedFile> files;
  if (stage + 1 == graph.stages().size() || graph.stages()[stage].row->shape == jobs::Shape::kGang)
    files = graph.files();
  const bool last_of_kind = std::none_of(job.stages.begin(), job.stages.end(), [&](const auto& other) {
    return other.first > row.position && other.second.kind == row.kind;
  });
  aside_.run([this, id = job.row.job, stage, name = row.stage, last_of_kind,
              output = io::Path(job.spec.spec.output), tasks = std::move(tasks), files = std::move(files),
              then = std::move(then)] {
    bool full = false;
    const std::string fault = fault_of(
        [&] {
          refuse_changed(files);
          write_stage_outputs(output, name, tasks);
          publish_stage(output, name, last_of_kind, tasks);
        },
        &full);
    events_.push([this, id, stage, fault, full, then](Decision& next) {
      if (!full) expected_.erase({id, stage});
      disk_was_full_ = full;
      then(fault, next);
    });
  });
}

// Of leases that are done: each task once, and nothing that was made of an input that has changed since.
std::set<LeaseId> Publisher::newest_of_each_task(const std::string& job_id) {
  const auto& outdated = outdated_[job_id];
  std::map<std::string, LeaseId> newest;
  ledger_.for_each_lease(job_id, [&](const ledger::LeaseRow& row) {
    if (row.state == ledger::LeaseState::kDone && !outdated.contains(row.lease))
      newest.insert_or_assign(row.task, row.lease);
  });
  std::set<LeaseId> leases;
  for (const auto& [task, lease] : newest) leases.insert(lease);
  return leases;
}

void Publisher::remember_data(const std::string& job_id, const planner::TaskGraph& graph) {
  auto& outdated = outdated_[job_id];
  outdated.clear();
  ledger_.for_each_lease(job_id, [&](const ledger::LeaseRow& row) {
    if (row.state == ledger::LeaseState::kDone &&
        row.address != graph.address_of(planner::task_ref_from_key(row.task)))
      outdated.insert(row.lease);
  });
  auto& damaged = damaged_[job_id];
  damaged.clear();
  auto& sources = sources_[job_id];
  sources.clear();
  for (const auto& warning : graph.warnings()) sources.push_back({"", warning});
  for (const auto& data : graph.data()) {
    for (const auto& [path, what] : data.damaged) damaged.push_back({data.name, path, what});
    for (const auto& line : data.decided) sources.push_back({data.name, line});
    if (!data.seen.empty())
      sources.push_back({data.name, std::to_string(data.usable) + " samples; " + data.seen});
  }
}

void Publisher::write_report(const Job& job, const std::vector<StageView>& stages,
                             std::function<void(const std::string& fault)> then) {
  report::ReportInput input;
  input.job_id = job.row.job;
  input.name = job.spec.name;
  input.state = name_of(job.row.state);
  input.cause = job.row.cause;
  input.spec_json = job.row.spec;
  input.output = job.spec.spec.output;
  for (const auto& view : stages)
    input.stages.push_back({.name = view.name,
                            .kind = view.kind,
                            .state = view.state,
                            .tasks_known = view.progress.tasks_known,
                            .tasks_done = view.progress.tasks_done,
                            .tasks_reused = view.progress.tasks_reused,
                            .counts = view.progress.counts});
  input.damaged = damaged_[job.row.job];
  input.sources = sources_[job.row.job];
  // Twice through the leases: which is a task's newest is known at the end, and all their rows are not kept.
  const std::set<LeaseId> counted = newest_of_each_task(job.row.job);
  ledger_.for_each_lease(job.row.job, [&](const ledger::LeaseRow& row) {
    add_lease(input, row, counted.contains(row.lease), job.row.started_ms);
  });
  aside_.run([input = std::move(input), then = std::move(then)] {
    then(fault_of([&] { report::write_report(input, store::RunPaths{input.output}.report()); }));
  });
}

}  // namespace trireme::coordinator::service

#include "coordinator/planner/task_graph.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/base/error.h"
#include "coordinator/planner/graph_state.h"

namespace trireme::coordinator::planner {

std::string key_of(const TaskRef& ref) {
  return std::to_string(ref.stage) + "." + std::to_string(ref.phase) + "." + std::to_string(ref.data) + "." +
         std::to_string(ref.shard) + "." + std::to_string(ref.first);
}

TaskRef task_ref_from_key(const std::string& key) {
  TaskRef ref;
  const char* at = key.data();
  const char* const end = key.data() + key.size();
  const auto number = [&](auto& value, bool last) {
    const auto [stop, error] = std::from_chars(at, end, value);
    if (error != std::errc() || (last ? stop != end : stop == end || *stop != '.'))
      throw Error(ErrorKind::kDamaged, "\"" + key + "\" is no task key");
    at = last ? stop : stop + 1;
  };
  number(ref.stage, false);
  number(ref.phase, false);
  number(ref.data, false);
  number(ref.shard, false);
  number(ref.first, true);
  return ref;
}

TaskGraph::TaskGraph(const jobs::JobSpec& job, ListedJob listed, const std::string& job_id)
    : state_(std::make_unique<GraphState>()) {
  state_->job = job;
  state_->job_id = job_id;
  state_->build(std::move(listed));
}

TaskGraph::~TaskGraph() = default;

std::vector<TaskRef> TaskGraph::start() {
  return state_->start();
}

std::vector<TaskRef> TaskGraph::complete(const TaskRef& ref, const jobs::TaskDone& done) {
  return state_->complete(ref, done);
}

jobs::TaskKind TaskGraph::kind(const TaskRef& ref) const {
  return state_->parts[state_->part_of(ref)].kind;
}

std::int64_t TaskGraph::gang_slots(const TaskRef& ref) const {
  const jobs::StageSpec* spec = state_->specs[state_->parts[state_->part_of(ref)].stage];
  const auto* train = spec == nullptr ? nullptr : std::get_if<jobs::TrainSettings>(&spec->settings);
  return train == nullptr ? jobs::kProbeSlots : train->logical_slots;
}

jobs::Task TaskGraph::describe_task(const TaskRef& ref) const {
  const std::size_t part = state_->part_of(ref);
  return state_->task(part, state_->item_of(part, ref));
}

jobs::Task TaskGraph::make_task(const TaskRef& ref) const {
  jobs::Task task = describe_task(ref);
  if (!task.inputs_file.empty()) state_->write_inputs(state_->part_of(ref));
  return task;
}

std::string TaskGraph::address_of(const TaskRef& ref) const {
  const auto part = state_->part_at.find({ref.stage, ref.phase, ref.data});
  if (part == state_->part_at.end()) return "";
  const std::int64_t item = state_->find_item(part->second, ref);
  const Part& found = state_->parts[part->second];
  if (item < 0 || found.states[static_cast<std::size_t>(item)] == Part::kWaiting) return "";
  return io::hex(found.records[static_cast<std::size_t>(item)].address);
}

std::vector<DataInfo> TaskGraph::data() const {
  std::vector<DataInfo> infos;
  for (std::size_t i = 0; i < state_->tables.size(); ++i) {
    const DataTable& table = state_->tables[i];
    DataInfo info;
    info.name = table.name();
    info.shards = table.size();
    info.inspected = state_->parts[state_->inspectors[i]].done;
    info.usable = table.usable_samples();
    info.bad = table.bad_samples();
    info.all_known = table.all_known();
    if (const auto found = state_->decided.find(info.name); found != state_->decided.end())
      info.decided = found->second;
    info.seen = table.seen_text();
    for (const auto& shard : table.damaged()) info.damaged.emplace_back(shard.path, shard.text);
    for (std::int64_t shard = 0; shard < table.size(); ++shard) {
      const jobs::ShardRef ref = table.shard_ref(shard);
      info.bytes += static_cast<std::int64_t>(ref.bytes);
      info.selected += std::max<std::int64_t>(0, ref.selected_count);
      info.per_epoch += static_cast<double>(std::max<std::int64_t>(0, ref.selected_count)) *
                        table.spec().sources[static_cast<std::size_t>(ref.source)].weight;
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

std::vector<ListedFile> TaskGraph::files() const {
  std::vector<ListedFile> files;
  for (const DataTable& table : state_->tables)
    for (std::int64_t shard = 0; shard < table.size(); ++shard)
      if (const auto identity = table.identity(shard); identity != 0) {
        const jobs::ShardRef ref = table.shard_ref(shard);
        files.push_back({ref.path, ref.format,
                         table.spec().sources[static_cast<std::size_t>(ref.source)].parquet, identity});
      }
  return files;
}

std::vector<std::string> TaskGraph::remarks() const {
  std::vector<std::string> remarks;
  for (const auto& [name, lines] : state_->decided)
    for (const auto& line : lines) remarks.push_back("data set \"" + name + "\": " + line);
  return remarks;
}

std::vector<std::string> TaskGraph::warnings() const {
  return state_->notes;
}

const std::vector<StageInfo>& TaskGraph::stages() const {
  return state_->stages;
}

StageProgress TaskGraph::progress(std::size_t stage) const {
  StageProgress sum;
  sum.tasks_final = sum.committed = true;
  for (const Part& part : state_->parts) {
    if (part.stage != stage) continue;
    sum.tasks_known += part.known();
    sum.tasks_done += part.done;
    sum.tasks_reused += part.reused;
    sum.tasks_final = sum.tasks_final && state_->is_final(part);
    sum.committed = sum.committed && part.complete;
    for (const auto& [name, count] : part.counts) sum.counts[name] += count;
  }
  return sum;
}

bool TaskGraph::finished() const {
  for (const Part& part : state_->parts)
    if (!part.complete) return false;
  return true;
}

}  // namespace trireme::coordinator::planner

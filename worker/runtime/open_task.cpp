#include "worker/runtime/open_task.h"

#include <algorithm>

#include "common/base/error.h"
#include "worker/data/batches/kept_samples.h"

namespace trireme::worker::runtime {
namespace {

std::vector<std::string> paths_of(const std::vector<jobs::InputFile>& files) {
  std::vector<std::string> paths;
  for (const auto& file : files) paths.push_back(file.path);
  return paths;
}

}  // namespace

TaskInputs::TaskInputs(const jobs::Task& task) : stage_(task.stage) {
  for (auto& line : read_inputs(task)) {
    if (line.shard) shards_.push_back(std::move(*line.shard));
    if (line.input) files_.push_back(std::move(*line.input));
  }
}

std::vector<jobs::InputFile> TaskInputs::all(jobs::Role role) const {
  std::vector<jobs::InputFile> found;
  std::ranges::copy_if(files_, std::back_inserter(found),
                       [&](const auto& file) { return file.role == role; });
  return found;
}

std::vector<jobs::InputFile> TaskInputs::all(jobs::Role role, const jobs::ShardRef& shard) const {
  auto found = all(role);
  std::erase_if(found,
                [&](const auto& file) { return file.data != shard.data || file.shard != shard.shard; });
  return found;
}

std::vector<std::string> TaskInputs::paths(jobs::Role role) const {
  return paths_of(all(role));
}

std::vector<std::string> TaskInputs::paths(jobs::Role role, const jobs::ShardRef& shard) const {
  return paths_of(all(role, shard));
}

const jobs::InputFile* TaskInputs::find(jobs::Role role) const {
  const auto found = std::ranges::find(files_, role, &jobs::InputFile::role);
  return found == files_.end() ? nullptr : &*found;
}

const jobs::InputFile& TaskInputs::only(jobs::Role role) const {
  const auto count = std::ranges::count(files_, role, &jobs::InputFile::role);
  if (count == 1) return *find(role);
  throw Error(ErrorKind::kInternal, "a task of stage '" + stage_ + "' has " + std::to_string(count) +
                                        " inputs with the role '" + std::string(name_of(role)) +
                                        "', where it needs one");
}

OpenedTask::OpenedTask(jobs::TaskKind kind, const jobs::Task& from)
    : row(jobs::row_of(kind)), message(from), inputs(from) {}

const jobs::ShardRef& OpenedTask::shard() const {
  if (message.shard) return *message.shard;
  throw Error(ErrorKind::kInternal, "a task of stage '" + message.stage + "' names no shard");
}

data::ShardReader OpenedTask::open_shard() const {
  return data::ShardReader(shard().path, inputs.only(jobs::Role::kShardIndex).path);
}

std::int64_t OpenedTask::end(const data::ShardReader& shard) const {
  return std::max(message.first, std::min(message.first + message.count, shard.size()));
}

std::vector<std::int64_t> OpenedTask::kept(const data::ShardReader& shard) const {
  return data::kept_samples(first(), end(shard), inputs.paths(jobs::Role::kVerdicts));
}

std::string OpenedTask::output() const {
  return message.output + std::string(row.extension);
}

std::string OpenedTask::beside() const {
  return message.output + std::string(row.beside_extension);
}

void describe_outputs(const OpenedTask& task, jobs::TaskDone& done) {
  if (!done.outputs.empty() || task.row.extent == jobs::Extent::kGang)
    return;  // of a gang one member reports
  done.outputs.push_back(describe_output("", task.output()));
  if (!task.row.beside.empty())
    done.outputs.push_back(describe_output(std::string(task.row.beside), task.beside()));
}

}  // namespace trireme::worker::runtime

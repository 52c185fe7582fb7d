#include "worker/runtime/task_inputs.h"

#include "common/base/error.h"

namespace trireme::worker::runtime {

std::vector<jobs::InputFile> inputs_of(const jobs::Task& task, std::string_view role) {
  std::vector<jobs::InputFile> found;
  for (const auto& input : task.inputs) {
    if (input.role == role) found.push_back(input);
  }
  return found;
}

std::vector<std::string> input_paths(const jobs::Task& task, std::string_view role) {
  std::vector<std::string> paths;
  for (const auto& input : inputs_of(task, role)) paths.push_back(input.path);
  return paths;
}

std::string input_path(const jobs::Task& task, std::string_view role) {
  const auto found = inputs_of(task, role);
  if (found.size() == 1) return found.front().path;
  throw Error(ErrorKind::kInternal, "a task of stage '" + task.stage + "' has " +
                                        std::to_string(found.size()) + " inputs with the role '" +
                                        std::string(role) + "', where it needs one");
}

const jobs::ShardRef& shard_of(const jobs::Task& task) {
  if (task.shard) return *task.shard;
  throw Error(ErrorKind::kInternal, "a task of stage '" + task.stage + "' names no shard");
}

}  // namespace trireme::worker::runtime

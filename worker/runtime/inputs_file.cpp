// The lines of a task's inputs file.
#include <algorithm>

#include "common/io/file.h"
#include "worker/runtime/stage.h"

namespace trireme::worker::runtime {

std::vector<jobs::InputsLine> read_inputs(const jobs::Task& task) {
  std::vector<jobs::InputsLine> lines;
  if (task.inputs_file.empty()) {
    if (task.shard) lines.push_back({task.shard, {}});
    for (const auto& input : task.inputs) lines.push_back({{}, input});
    return lines;
  }
  const std::string text = io::read_file(task.inputs_file);
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    ++number;
    try {
      if (end > at) lines.push_back(jobs::inputs_line_from_json(std::string_view(text).substr(at, end - at)));
    } catch (const Error& error) {
      throw Error(error.kind(), task.inputs_file + ":" + std::to_string(number) + ": " + error.what());
    }
    at = end + 1;
  }
  return lines;
}

}  // namespace trireme::worker::runtime

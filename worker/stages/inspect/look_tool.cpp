#include "worker/stages/inspect/look_tool.h"

#include <unistd.h>

#include <ostream>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "jobs/protocol/messages.h"
#include "worker/stages/inspect/inspect_stage.h"

namespace trireme::worker::stages::inspect {

int look(const std::vector<std::string>& arguments, std::ostream& out) {
  if (arguments.size() != 4)
    throw Error(ErrorKind::kUsage, "look needs SHARD FORMAT DATA SOURCE", "trireme doctor PATH calls it");
  jobs::Task task;
  task.stage = "look";
  task.settings = "{}";
  task.shard.emplace();
  task.shard->path = arguments[0];
  const auto format = from_name<jobs::DataFormat>(arguments[1]);
  if (!format) throw Error(ErrorKind::kUsage, "look: unknown format " + arguments[1]);
  task.shard->format = *format;
  task.shard->source = std::stoll(arguments[3]);
  task.data = arguments[2];
  const io::Path index = io::temporary_folder() / ("trireme-look-" + std::to_string(::getpid()));
  task.output = index.string();
  runtime::TaskContext context;
  const jobs::TaskDone done = InspectStage().run(task, context);
  io::remove_file(index.string() + ".idx");
  out << done.summary << "\n";
  return 0;
}

}  // namespace trireme::worker::stages::inspect

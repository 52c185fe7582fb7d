#include "jobs/kinds/task_kinds.h"

#include <string>

#include "common/base/error.h"

namespace trireme::jobs {

TaskKind task_kind_from_name(std::string_view name) {
  const auto found = from_name<TaskKind>(name);
  if (!found) throw Error(ErrorKind::kDamaged, "unknown kind of task '" + std::string(name) + "'");
  return *found;
}

}  // namespace trireme::jobs

#include "jobs/kinds/task_kinds.h"

#include <iterator>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace trireme::jobs {
namespace {

// Whether the enum names this value: what a compiler prints of one without a name is a cast.
template <auto kValue>
constexpr bool is_named() {
  return std::string_view(__PRETTY_FUNCTION__).find("(trireme::") == std::string_view::npos;
}
static_assert(is_named<TaskKind::kInspect>() && is_named<static_cast<TaskKind>(std::size(kTasks) - 1)>());
static_assert(!is_named<static_cast<TaskKind>(std::size(kTasks))>(),
              "the last TaskKind has no row of kTasks");

}  // namespace

TaskKind task_kind_from_name(std::string_view name) {
  const auto found = from_name<TaskKind>(name);
  if (!found) throw Error(ErrorKind::kDamaged, "unknown kind of task '" + std::string(name) + "'");
  return *found;
}

}  // namespace trireme::jobs

#include "common/base/fault_point.h"

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <unistd.h>

#include "common/base/enum_names.h"
#include "common/base/error.h"
#include "common/base/log.h"

namespace trireme {
namespace {
enum class FaultAction { kKill9, kStop, kAbort, kSegv, kExit, kDelayMs, kError, kEnospc };
constexpr std::array<std::string_view, 8> names_of(FaultAction) {
  return {"kill9", "stop", "abort", "segv", "exit", "delay_ms", "error", "enospc"};
}

struct ArmedFault {
  std::string point;
  FaultAction action = FaultAction::kKill9;
  int hits_left = 1;
  int argument = 0;
};
struct FaultState {
  std::mutex mutex;
  bool armed = false;
  std::vector<ArmedFault> faults;
};
FaultState& state() {
  static FaultState instance;
  return instance;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

void act(const ArmedFault& fault) {
  log_warning("fault", fault.point + " fires: " + std::string(name_of(fault.action)));
  switch (fault.action) {
    case FaultAction::kKill9:
      ::kill(::getpid(), SIGKILL);
      break;
    case FaultAction::kStop:
      ::kill(::getpid(), SIGSTOP);
      break;
    case FaultAction::kAbort:
      std::abort();
    case FaultAction::kSegv:
      std::raise(SIGSEGV);
      break;
    case FaultAction::kExit:
      ::_exit(fault.argument);
    case FaultAction::kDelayMs:
      std::this_thread::sleep_for(std::chrono::milliseconds(fault.argument));
      break;
    case FaultAction::kError:
      throw Error(ErrorKind::kInternal, "fault injected at " + fault.point);
    case FaultAction::kEnospc:
      throw Error(ErrorKind::kDiskFull, "disk full injected at " + fault.point);
  }
}
}  // namespace

void arm_fault_points(int world_rank, unsigned long long incarnation) {
  const char* setting = std::getenv("TRIREME_FAULT");
  if (setting == nullptr || *setting == 0) return;
  const char* rank = std::getenv("TRIREME_FAULT_RANK");
  if (rank != nullptr && std::atoi(rank) != world_rank) return;
  const char* wanted = std::getenv("TRIREME_FAULT_INCARNATION");
  if (std::string(wanted != nullptr ? wanted : "1") != "any" &&
      std::strtoull(wanted != nullptr ? wanted : "1", nullptr, 10) != incarnation)
    return;
  const std::lock_guard lock(state().mutex);
  for (const auto& text : split(setting, ',')) {
    const auto parts = split(text, ':');
    const auto action = from_name<FaultAction>(parts.size() < 3 ? "" : parts[2]);
    if (!action) throw Error(ErrorKind::kUsage, "TRIREME_FAULT: '" + text + "' is not point:hit:action");
    state().faults.push_back(
        {parts[0], *action, std::atoi(parts[1].c_str()), parts.size() > 3 ? std::atoi(parts[3].c_str()) : 0});
  }
  state().armed = true;
}

void fault_point(std::string_view point) {
  if (!state().armed) return;
  ArmedFault due;
  {
    const std::lock_guard lock(state().mutex);
    for (auto& fault : state().faults)
      if (fault.point == point && --fault.hits_left == 0) due = fault;
  }
  if (!due.point.empty()) act(due);
}

bool fault_due(std::string_view point) {
  try {
    fault_point(point);
  } catch (const Error&) {
    return true;
  }
  return false;
}

}  // namespace trireme

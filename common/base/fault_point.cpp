#include "common/base/fault_point.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "common/base/error.h"
#include "common/base/log.h"

namespace trireme {
namespace {
struct ArmedFault {
  std::string point, action;
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
  log_warning("fault", fault.point + " fires: " + fault.action);
  if (fault.action == "kill9") ::kill(::getpid(), SIGKILL);
  if (fault.action == "stop") ::kill(::getpid(), SIGSTOP);
  if (fault.action == "abort") std::abort();
  if (fault.action == "segv") std::raise(SIGSEGV);
  if (fault.action == "exit") ::_exit(fault.argument);
  if (fault.action == "delay_ms") std::this_thread::sleep_for(std::chrono::milliseconds(fault.argument));
  if (fault.action == "error") throw Error(ErrorKind::kInternal, "fault injected at " + fault.point);
  if (fault.action == "enospc") throw Error(ErrorKind::kDiskFull, "disk full injected at " + fault.point);
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
    if (parts.size() < 3)
      throw Error(ErrorKind::kUsage, "TRIREME_FAULT: '" + text + "' is not point:hit:action");
    state().faults.push_back({parts[0], parts[2], std::atoi(parts[1].c_str()),
                              parts.size() > 3 ? std::atoi(parts[3].c_str()) : 0});
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

}  // namespace trireme

// Named places where a test makes the world fail: TRIREME_FAULT=point:hit:action[:argument], several joined
// by commas. `hit` counts from 1 within the process. Actions: kill9, abort, stop, exit (argument = code),
// delay_ms (argument), error (throws kInternal), enospc (throws kDiskFull). TRIREME_FAULT_RANK limits it to
// one world rank, TRIREME_FAULT_INCARNATION to one incarnation (default 1, so that a relaunch goes through).
// Unset: one branch, no cost.
#pragma once

#include <string_view>

namespace trireme {

// Reads the environment; called once by app after the rank is known. A malformed value throws kUsage.
void arm_fault_points(int world_rank, unsigned long long incarnation);

void fault_point(std::string_view point);
// Of a point whose effect is the caller's: true where it is due with the action `error` (or enospc).
bool fault_due(std::string_view point);

}  // namespace trireme

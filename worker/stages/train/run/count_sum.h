// Named counts of all ranks of a gang, added up.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "worker/collective/group.h"

namespace trireme::worker::stages::train {

// Collective. The counts of all ranks together, on every rank; names hold no line break.
std::map<std::string, std::int64_t> sum_over(collective::Group& group,
                                             const std::map<std::string, std::int64_t>& own);

}  // namespace trireme::worker::stages::train

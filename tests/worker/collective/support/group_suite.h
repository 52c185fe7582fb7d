// One suite that judges every backend of Group. Each check is called by every rank of a gang with its own
// group and says what is wrong, "" when nothing is.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "worker/collective/group.h"

namespace trireme::worker::collective {

using GroupCheck = std::string (*)(Group&);
const std::vector<std::pair<std::string, GroupCheck>>& group_checks();

// Deterministic values of one slot or rank, spread over many magnitudes so that the order of additions shows.
at::Tensor test_values(std::int64_t count, std::uint64_t key, at::ScalarType type = at::kFloat);

}  // namespace trireme::worker::collective

// Distinct types for the numbers that must never be mixed up.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace trireme {

template <class Tag>
struct Id {
  std::uint64_t value = 0;
  auto operator<=>(const Id&) const = default;
};

using LeaseId = Id<struct LeaseTag>;            // one attempt at one task; unique within a run, never reused
using Incarnation = Id<struct IncarnationTag>;  // fencing token: grows with every (re)start of a run

// MPI world rank: 0 is the coordinator, 1..W are workers.
using Rank = int;

}  // namespace trireme

template <class Tag>
struct std::hash<trireme::Id<Tag>> {
  std::size_t operator()(const trireme::Id<Tag>& id) const noexcept {
    return std::hash<std::uint64_t>()(id.value);
  }
};

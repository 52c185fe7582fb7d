// Which rows of an index a query may find: conditions on its columns.
#pragma once

#include <cstdint>
#include <vector>

#include "jobs/search/query.h"
#include "worker/search/segment.h"

namespace trireme::worker::search {

using jobs::Condition;

// One byte per row, 1 where every condition holds.
std::vector<std::uint8_t> allowed_rows(const Segment& segment, const std::vector<Condition>& conditions);

}  // namespace trireme::worker::search

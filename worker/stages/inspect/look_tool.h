// `trireme-worker tool look`: what inspect would make of a shard, for doctor.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace trireme::worker::stages::inspect {

// SHARD FORMAT DATA SOURCE: DATA as jobs::data_json(), SOURCE its position there. Prints one line, the
// shard's ShardSummary as JSON; leaves nothing behind. Throws as build_shard_index().
int look(const std::vector<std::string>& arguments, std::ostream& out);

}  // namespace trireme::worker::stages::inspect

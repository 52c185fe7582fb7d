// What an inspected shard tells that contradicts what was decided for its source.
#pragma once

#include <string>

#include "jobs/protocol/messages.h"
#include "jobs/specification/data_spec.h"

namespace trireme::coordinator::planner {

// `data`: the name of the set, `classes`: how many of its classes have names, 0: unknown. Throws kInvalid
// naming the shard: texts of several lines where each was taken for a caption, a label beyond the class
// names.
void check_shard_reading(const jobs::ShardRef& shard, const jobs::SourceSpec& source, const std::string& data,
                         std::int64_t classes, const jobs::ShardSummary& summary);

}  // namespace trireme::coordinator::planner

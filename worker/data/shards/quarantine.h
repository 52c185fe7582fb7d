// The index of a shard without what has killed workers (RELIABILITY 8.5).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "worker/data/shards/shard_reader.h"

namespace trireme::worker::data {

// As build_shard_index(). Samples with these keys are bad ("quarantined"); with "" among them the shard is
// not looked into, and has none.
ShardScan build_shard_index_without(const std::vector<std::string>& quarantined, const io::Path& shard,
                                    jobs::DataFormat format, const jobs::SourceSpec& source,
                                    const io::Path& index_path, const std::function<void()>& poll = {});

}  // namespace trireme::worker::data

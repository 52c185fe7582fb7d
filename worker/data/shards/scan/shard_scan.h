// The kinds of shards that build_shard_index() (shard_reader.h) takes apart.
#pragma once

#include <functional>
#include <string_view>

#include "common/io/file.h"
#include "jobs/specification/data_spec.h"
#include "worker/data/shards/shard_index.h"
#include "worker/data/shards/shard_reader.h"

namespace trireme::worker::data {

// A table of image paths and captions; rows of one image make one sample. "rows" = "rows.kept" + "rows.bad" +
// "rows.hidden" of ShardScan::seen.
void scan_table(const io::Path& table, std::string_view bytes, const jobs::SourceSpec& source,
                const std::function<void()>& poll, ShardIndex& index, ShardScan& scan);

// The pictures of a folder with what stands beside them. `is_class`: those below it, too, and all of them
// have one label: the position of the folder among the class folders beside it. The sha256 is over names,
// label and content.
void scan_folder(const io::Path& folder, bool is_class, const jobs::SourceSpec& source,
                 const std::function<void()>& poll, ShardIndex& index, ShardScan& scan);

}  // namespace trireme::worker::data

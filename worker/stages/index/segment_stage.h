// The segment of one range: its embeddings and what is known of its samples (worker/search/segment.h).
#pragma once

#include <cstdint>
#include <string>

#include "common/io/file.h"
#include "worker/data/shards/shard_reader.h"

namespace trireme::worker::stages::index {

// `features`: what an embed task left for the range, of space "shared"; any other makes an empty segment.
// Columns are the members of the samples' JSON that hold a number, true or false, or a short string, at most
// 64 of them by their names; not those that say how a download went (status, error_message) nor what an item
// has anyway (key, caption, url). Returns how many rows were no direction and are left out. Deterministic
// bytes.
std::int64_t build_segment(const io::Path& path, const io::Path& features, const data::ShardReader& shard);

}  // namespace trireme::worker::stages::index

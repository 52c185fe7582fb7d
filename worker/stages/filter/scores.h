// Scores that another program gave to the samples of a shard (Scores in jobs/protocol/FORMAT.md).
#pragma once

#include <string>
#include <unordered_map>

#include "common/io/file.h"
#include "jobs/protocol/messages.h"

namespace trireme::worker::stages::filter {

// <folder>/<name of the shard without .tar>.<score>.scores.jsonl; folder ".": the one of the shard.
io::Path score_path(const std::string& folder, const std::string& score, const io::Path& shard);

// By key. Throws kNotFound without the file, kDamaged naming file and line, kInvalid when it was made for
// another shard or by another version of the format.
std::unordered_map<std::string, double> read_scores(const io::Path& path, const std::string& score,
                                                    const std::string& shard_sha256);

}  // namespace trireme::worker::stages::filter

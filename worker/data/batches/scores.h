// Scores of the samples of a shard (Scores in jobs/protocol/FORMAT.md), by another program or a pair_scores
// stage.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/io/file.h"

namespace trireme::worker::data {

// What the scores of a pair_scores stage are called: cosine of image and text.
inline constexpr std::string_view kSimilarity = "similarity";

// <folder>/<name of the shard without .tar>.<score>.scores.jsonl; folder ".": the one of the shard.
io::Path score_path(const std::string& folder, const std::string& score, const io::Path& shard);

// The file's text; numbers are written so that reading gives the same double.
std::string scores_file(std::string_view score, const std::string& shard_sha256,
                        const std::vector<std::pair<std::string, double>>& by_key);

// By key. Throws kNotFound without the file, kDamaged naming file and line, kInvalid when it was made for
// another shard or by another version of the format.
std::unordered_map<std::string, double> read_scores(const io::Path& path, std::string_view score,
                                                    const std::string& shard_sha256);

}  // namespace trireme::worker::data

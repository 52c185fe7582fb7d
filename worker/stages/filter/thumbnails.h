// A few samples of a range as small pictures for the report: 4 kept ones and 4 per rule that dropped some.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "worker/data/shards/shard_reader.h"
#include "worker/stages/filter/rules.h"

namespace trireme::worker::stages::filter {

struct ChosenSample {
  std::int64_t sample = 0;
  bool kept = true;
  std::string rule;  // of a dropped one
};

// The first 4 of every group in the order offered. A sample dropped by several rules stands for the first of
// them that is not full.
class ThumbnailChoice {
 public:
  void offer(std::int64_t sample, const Verdict& verdict);
  const std::vector<ChosenSample>& chosen() const { return chosen_; }

 private:
  std::map<std::string, int> taken_;
  std::vector<ChosenSample> chosen_;
};

// Lines of the thumbnails file (jobs/protocol/FORMAT.md); a picture that cannot be decoded has no "jpeg".
std::string thumbnail_lines(const data::ShardReader& shard, const std::vector<ChosenSample>& chosen);

}  // namespace trireme::worker::stages::filter

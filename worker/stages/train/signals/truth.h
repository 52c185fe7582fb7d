// What is known of the samples' pairs, where a source says so: `<shard without .tar>.truth.jsonl` beside a
// shard (jobs/protocol/FORMAT.md "Truth"; synthetic sources write it, and whoever swaps captions may).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "worker/data/batches/loader.h"
#include "worker/stages/train/inputs/data_set.h"

namespace trireme::worker::stages::train {

enum class Truth : std::uint8_t { kClean, kCorrupted, kUnknown };

// "none" is clean; "swapped" and "boilerplate", texts that do not belong to their image, are corrupted; other
// kinds of noise, which leave the pair true, are unknown.
Truth truth_of_noise(std::string_view noise);

class TruthTable {
 public:
  // Reads the truth of every shard that has any. Lines that cannot be read and keys without a line are
  // unknown. Where captions were swapped on purpose, those samples are corrupted, and the others clean in
  // shards that say nothing.
  explicit TruthTable(const DataSet& set);
  bool any() const { return any_; }
  Truth of(const data::SamplePosition& sample) const;

 private:
  std::vector<std::vector<Truth>> shards_;  // by sample; empty: unknown
  bool any_ = false;
};

}  // namespace trireme::worker::stages::train

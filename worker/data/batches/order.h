// The order of training samples: a pure function of (seed, epoch, manifest), never of rank, thread or time
// (RELIABILITY 8.6). Shards are shuffled with Philox, then samples within windows of K shards by a keyed
// permutation, so that the sample at a position is found in O(log shards) without state. Every kept sample
// occurs exactly once per epoch (`weight` times in a weighted source, `times` under another sampling; the
// fraction by a keyed draw per sample and epoch).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace trireme::worker::data {

struct ManifestShard {
  std::string sha256;
  std::int64_t samples = 0;
  double weight = 1;
  std::vector<std::int32_t>
      kept;  // positions that passed the filters, ascending; empty with samples > 0 means none
  // Beside `weight`, one per kept position: times it is seen per epoch, a fraction by the same draw.
  // Empty: once.
  std::vector<float> times;
};

struct SamplePosition {
  std::int64_t shard = 0;   // index into the manifest
  std::int64_t sample = 0;  // position within the shard
  auto operator<=>(const SamplePosition&) const = default;
};

// Thread-safe; at() takes well under a microsecond once an epoch's plan is made (the last few are kept).
class SampleOrder {
 public:
  // `window` K: shards mixed together.
  SampleOrder(std::vector<ManifestShard> manifest, std::uint64_t seed, std::int64_t window = 16);

  std::int64_t epoch_size(std::int64_t epoch) const;
  SamplePosition at(std::int64_t epoch, std::int64_t position) const;  // position in [0, epoch_size(epoch))
  std::string manifest_hash() const;  // 32 hex digits over sha256, counts, weights and kept positions

 private:
  struct EpochPlan;
  struct Plans;
  std::shared_ptr<const EpochPlan> make_plan(std::int64_t epoch) const;
  std::shared_ptr<const EpochPlan> plan(std::int64_t epoch) const;

  std::vector<ManifestShard> manifest_;
  std::shared_ptr<Plans> plans_;  // cache, shared by copies
  std::uint64_t seed_;
  std::int64_t window_;
};

// Keyed bijection of [0, size) (Feistel with cycle walking).
std::uint64_t keyed_permutation(std::uint64_t index, std::uint64_t size, std::uint64_t key);

// Slot l of L gets positions [l*B/L, (l+1)*B/L) of step t's batch [t*B, (t+1)*B); the last batch of an epoch
// may be short: positions beyond the epoch are padding with weight zero.
std::int64_t steps_per_epoch(std::int64_t epoch_size, std::int64_t global_batch);

}  // namespace trireme::worker::data

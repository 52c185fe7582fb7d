#include "worker/data/batches/order.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <mutex>
#include <numeric>
#include <utility>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/io/hash.h"
#include "common/io/little_endian.h"

namespace trireme::worker::data {
namespace {

constexpr int kRounds = 8;
constexpr std::size_t kPlansKept = 4;

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ULL;
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ULL;
  return x ^ (x >> 32);
}

std::int64_t count(const std::vector<std::int32_t>& items) {
  return static_cast<std::int64_t>(items.size());
}

}  // namespace

// Halves of unequal width take turns, so that the domain is less than twice the size and few walks repeat.
std::uint64_t keyed_permutation(std::uint64_t index, std::uint64_t size, std::uint64_t key) {
  if (size <= 1) return 0;
  const int bits = std::bit_width(size - 1);
  const int low_bits = (bits + 1) / 2, high_bits = bits - low_bits;
  const std::uint64_t low_mask = (std::uint64_t{1} << low_bits) - 1,
                      high_mask = (std::uint64_t{1} << high_bits) - 1;
  std::uint64_t x = index;
  do {
    std::uint64_t low = x & low_mask, high = x >> low_bits;
    for (int round = 0; round < kRounds; round += 2) {
      const auto r = static_cast<std::uint64_t>(round);
      high ^= mix(key + low * 0x9e3779b97f4a7c15ULL + r * 0xbf58476d1ce4e5b9ULL) & high_mask;
      low ^= mix(key + high * 0x9e3779b97f4a7c15ULL + (r + 1) * 0xbf58476d1ce4e5b9ULL) & low_mask;
    }
    x = (high << low_bits) | low;
  } while (x >= size);
  return x;
}

struct SampleOrder::EpochPlan {
  struct Part {
    std::int64_t shard = 0;
    std::int64_t end = 0;              // entries of the epoch up to and with this shard
    std::int64_t copies = 0;           // of all of `kept`
    std::vector<std::int32_t> extras;  // indices into `kept` beside them: the fraction of the weight, or all
                                       // entries where samples are weighted
  };
  struct Window {
    std::int64_t begin = 0, end = 0;  // entries
    std::size_t first_part = 0, last_part = 0;
    std::uint64_t key = 0;
  };
  std::int64_t epoch = 0;
  std::vector<Part> parts;  // shards in this epoch's order
  std::vector<Window> windows;
  std::int64_t size() const { return parts.empty() ? 0 : parts.back().end; }
};

struct SampleOrder::Plans {
  std::mutex mutex;
  std::vector<std::shared_ptr<const EpochPlan>> recent;  // newest last
};

SampleOrder::SampleOrder(std::vector<ManifestShard> manifest, std::uint64_t seed, std::int64_t window)
    : manifest_(std::move(manifest)), plans_(std::make_shared<Plans>()), seed_(seed), window_(window) {
  if (window < 1) throw Error(ErrorKind::kInternal, "sample order: window " + std::to_string(window));
  for (const ManifestShard& shard : manifest_) {
    if (!(shard.weight >= 0) || shard.weight > 1e6) {
      throw Error(ErrorKind::kInvalid,
                  "weight " + std::to_string(shard.weight) + " of a source is not between 0 and 1,000,000");
    }
    if (!shard.times.empty() && shard.times.size() != shard.kept.size())
      throw Error(ErrorKind::kInternal, "sample order: one number of times per kept position is needed");
    for (const float times : shard.times)
      if (!(times >= 0) || times > 1e6F)
        throw Error(ErrorKind::kInternal,
                    "sample order: a sample is seen " + std::to_string(times) + " times");
    for (const std::int32_t position : shard.kept) {
      if (position < 0 || position >= shard.samples) {
        throw Error(ErrorKind::kInternal, "kept position " + std::to_string(position) + " of a shard with " +
                                              std::to_string(shard.samples) + " samples");
      }
    }
  }
}

std::shared_ptr<const SampleOrder::EpochPlan> SampleOrder::make_plan(std::int64_t epoch) const {
  auto plan = std::make_shared<EpochPlan>();
  plan->epoch = epoch;
  std::vector<std::int64_t> shuffled(manifest_.size());
  std::iota(shuffled.begin(), shuffled.end(), 0);
  RandomStream random(seed_, RandomPurpose::kShardOrder, static_cast<std::uint64_t>(epoch));
  for (std::size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[random.below(i)]);
  std::int64_t end = 0;
  for (const std::int64_t index : shuffled) {
    const ManifestShard& shard = manifest_[static_cast<std::size_t>(index)];
    EpochPlan::Part part{index, 0, shard.times.empty() ? static_cast<std::int64_t>(shard.weight) : 0, {}};
    const double fraction = shard.weight - std::floor(shard.weight);
    const bool draws = fraction > 0 || !shard.times.empty();
    for (std::int32_t k = 0; draws && k < count(shard.kept); ++k) {
      const auto at = static_cast<std::size_t>(k);
      double times = fraction;
      if (!shard.times.empty()) {
        const double all = shard.weight * static_cast<double>(shard.times[at]);
        for (times = all; times >= 1; times -= 1) part.extras.push_back(k);
      }
      const auto sample = static_cast<std::uint64_t>(shard.kept[at]);
      RandomStream draw(seed_, RandomPurpose::kSourceWeight, name_key(shard.sha256) + sample,
                        static_cast<std::uint32_t>(epoch));
      if (draw.uniform() < times) part.extras.push_back(k);
    }
    end += part.copies * count(shard.kept) + count(part.extras);
    part.end = end;
    plan->parts.push_back(std::move(part));
  }
  for (std::size_t first = 0; first < plan->parts.size(); first += static_cast<std::size_t>(window_)) {
    const std::size_t last = std::min(first + static_cast<std::size_t>(window_), plan->parts.size());
    const std::int64_t begin = first == 0 ? 0 : plan->parts[first - 1].end;
    RandomStream key(seed_, RandomPurpose::kSampleOrder, static_cast<std::uint64_t>(epoch),
                     static_cast<std::uint32_t>(plan->windows.size()));
    plan->windows.push_back({begin, plan->parts[last - 1].end, first, last, key.next_u64()});
  }
  return plan;
}

std::shared_ptr<const SampleOrder::EpochPlan> SampleOrder::plan(std::int64_t epoch) const {
  const std::lock_guard lock(plans_->mutex);
  auto& recent = plans_->recent;
  for (const auto& one : recent) {
    if (one->epoch == epoch) return one;
  }
  if (recent.size() >= kPlansKept) recent.erase(recent.begin());
  recent.push_back(make_plan(epoch));
  return recent.back();
}

std::int64_t SampleOrder::epoch_size(std::int64_t epoch) const {
  return plan(epoch)->size();
}

SamplePosition SampleOrder::at(std::int64_t epoch, std::int64_t position) const {
  const auto plan_of_epoch = plan(epoch);
  if (position < 0 || position >= plan_of_epoch->size()) {
    throw Error(ErrorKind::kInternal, "position " + std::to_string(position) + " of an epoch of " +
                                          std::to_string(plan_of_epoch->size()) + " samples");
  }
  const auto& windows = plan_of_epoch->windows;
  const auto window = std::partition_point(windows.begin(), windows.end(),
                                           [&](const auto& one) { return one.end <= position; });
  const auto size = static_cast<std::uint64_t>(window->end - window->begin);
  const std::int64_t entry =
      window->begin + static_cast<std::int64_t>(keyed_permutation(
                          static_cast<std::uint64_t>(position - window->begin), size, window->key));
  const auto& parts = plan_of_epoch->parts;
  const auto part = std::partition_point(parts.begin() + static_cast<std::ptrdiff_t>(window->first_part),
                                         parts.begin() + static_cast<std::ptrdiff_t>(window->last_part),
                                         [&](const auto& one) { return one.end <= entry; });
  const std::int64_t begin = part == parts.begin() ? 0 : std::prev(part)->end;
  const ManifestShard& shard = manifest_[static_cast<std::size_t>(part->shard)];
  const std::int64_t copies = part->copies * count(shard.kept);
  const std::int64_t offset = entry - begin;
  const std::int64_t kept =
      offset < copies ? offset % count(shard.kept) : part->extras[static_cast<std::size_t>(offset - copies)];
  return {part->shard, shard.kept[static_cast<std::size_t>(kept)]};
}

std::string SampleOrder::manifest_hash() const {
  std::string bytes;
  const auto put = [&](const auto& value) { io::put(bytes, value); };
  for (const ManifestShard& shard : manifest_) {
    put(static_cast<std::uint64_t>(shard.sha256.size()));
    bytes += shard.sha256;
    put(shard.samples);
    put(shard.weight);
    put(static_cast<std::uint64_t>(shard.kept.size()));
    for (const std::int32_t position : shard.kept) put(position);
    for (const float times : shard.times) put(times);
  }
  return io::hex(io::xxh3_128(bytes));
}

std::int64_t steps_per_epoch(std::int64_t epoch_size, std::int64_t global_batch) {
  return (epoch_size + global_batch - 1) / global_batch;
}

}  // namespace trireme::worker::data

#include "worker/stages/train/inputs/swap_captions.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "common/base/random.h"

namespace trireme::worker::stages::train {

void swap_captions(DataSet& set, const jobs::SwapCaptionsSpec& spec) {
  std::vector<std::pair<std::uint64_t, data::SamplePosition>> order;
  for (std::size_t s = 0; s < set.shards.size(); ++s) {
    const std::uint64_t shard_key = name_key("swapped captions " + set.shards[s].ref.sha256);
    for (const std::int64_t sample : set.shards[s].kept) {
      RandomStream random(static_cast<std::uint64_t>(spec.seed), RandomPurpose::kCaptionChoice,
                          shard_key + static_cast<std::uint64_t>(sample));
      order.emplace_back(random.next_u64(), data::SamplePosition{static_cast<std::int64_t>(s), sample});
    }
  }
  const auto chosen = static_cast<std::size_t>(std::llround(spec.share * static_cast<double>(order.size())));
  if (chosen < 2) return;
  std::ranges::sort(
      order, {}, [](const auto& one) { return std::tuple(one.first, one.second.shard, one.second.sample); });
  set.texts_of.resize(set.shards.size());
  for (std::size_t s = 0; s < set.shards.size(); ++s)
    for (std::int64_t sample = 0; sample < set.shards[s].reader->size(); ++sample)
      set.texts_of[s].push_back({static_cast<std::int64_t>(s), sample});
  for (std::size_t i = 0; i < chosen; ++i) {
    const auto& [shard, sample] = order[i].second;
    set.texts_of[static_cast<std::size_t>(shard)][static_cast<std::size_t>(sample)] =
        order[(i + 1) % chosen].second;
  }
}

}  // namespace trireme::worker::stages::train

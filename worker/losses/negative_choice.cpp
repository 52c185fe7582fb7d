#include "worker/losses/negative_choice.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/random.h"

namespace trireme::worker::losses {

std::uint64_t negative_key(std::uint64_t seed, std::int64_t step, std::int64_t direction, std::int64_t row) {
  const auto low = [](auto value) { return static_cast<std::uint32_t>(value); };
  const auto high = [](auto value) {
    return static_cast<std::uint32_t>(static_cast<std::uint64_t>(value) >> 32);
  };
  const auto words =
      philox4x32({low(row), high(row), low(step), low(direction)}, {low(seed), high(seed) ^ high(step)});
  return (static_cast<std::uint64_t>(words[0]) << 32) | words[1];
}

std::int64_t negatives_kept(double fraction, std::int64_t candidates) {
  return std::llround(fraction * static_cast<double>(candidates));
}

NegativeLimit negative_limit(std::uint64_t key, const std::vector<std::uint8_t>& is_candidate,
                             std::int64_t kept) {
  if (kept <= 0) return {};
  std::vector<std::pair<std::uint32_t, std::int64_t>> order;
  for (std::size_t column = 0; column < is_candidate.size(); ++column)
    if (is_candidate[column] != 0)
      order.emplace_back(negative_rank(key, static_cast<std::uint32_t>(column)),
                         static_cast<std::int64_t>(column));
  const auto last = order.begin() + std::min<std::int64_t>(kept, static_cast<std::int64_t>(order.size())) - 1;
  std::nth_element(order.begin(), last, order.end());
  return {last->first, last->second};
}

}  // namespace trireme::worker::losses

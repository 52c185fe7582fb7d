#include "worker/kernels/negative_choice.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/random.h"

namespace trireme::worker::kernels {

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

// The kept-th smallest of N uniform ranks lies within a few deviations of its expectation, so only the ranks
// in that band are sorted; a band that misses it is widened to everything.
NegativeLimit negative_limit(std::uint64_t key, const std::vector<std::uint8_t>& is_candidate,
                             std::int64_t candidates, std::int64_t kept) {
  if (kept <= 0) return {};
  kept = std::min(kept, candidates);
  constexpr double kAll = 4294967296.0;
  const double count = static_cast<double>(candidates), share = static_cast<double>(kept) / count;
  const double margin = 5 * std::sqrt(share * (1 - share) / count) + 4 / count;
  std::int64_t low = std::max<std::int64_t>(0, std::llround((share - margin) * kAll));
  std::int64_t high = std::min<std::int64_t>(std::int64_t{1} << 32, std::llround((share + margin) * kAll));
  for (;;) {
    std::vector<std::pair<std::uint32_t, std::int64_t>> band;
    std::int64_t below = 0;
    for (std::size_t column = 0; column < is_candidate.size(); ++column) {
      const std::int64_t rank = negative_rank(key, static_cast<std::uint32_t>(column));
      below += static_cast<std::int64_t>(is_candidate[column] != 0 && rank < low);
      if (is_candidate[column] != 0 && rank >= low && rank < high)
        band.emplace_back(static_cast<std::uint32_t>(rank), static_cast<std::int64_t>(column));
    }
    const auto wanted = kept - below - 1;
    if (wanted >= 0 && wanted < static_cast<std::int64_t>(band.size())) {
      std::nth_element(band.begin(), band.begin() + wanted, band.end());
      const auto& last = band[static_cast<std::size_t>(wanted)];
      return {last.first, last.second};
    }
    low = 0;
    high = std::int64_t{1} << 32;
  }
}

}  // namespace trireme::worker::kernels

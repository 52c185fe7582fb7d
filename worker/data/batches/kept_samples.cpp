#include "worker/data/batches/kept_samples.h"

#include <algorithm>
#include <numeric>

#include "worker/data/batches/verdicts.h"

namespace trireme::worker::data {

std::vector<std::int64_t> kept_samples(std::int64_t first, std::int64_t last,
                                       const std::vector<std::string>& verdict_files) {
  std::vector<std::int64_t> samples(static_cast<std::size_t>(std::max<std::int64_t>(last - first, 0)));
  std::iota(samples.begin(), samples.end(), first);
  for (const auto& file : verdict_files) {
    const auto verdicts = read_verdicts(file);
    std::erase_if(samples, [&](std::int64_t sample) {
      const bool judged = sample >= verdicts.first && sample < verdicts.first + verdicts.count;
      return judged && !std::binary_search(verdicts.kept.begin(), verdicts.kept.end(), sample);
    });
  }
  return samples;
}

}  // namespace trireme::worker::data

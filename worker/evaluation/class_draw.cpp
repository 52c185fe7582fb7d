#include "worker/evaluation/class_draw.h"

#include <algorithm>
#include <functional>
#include <vector>

#include <ATen/ATen.h>

#include "common/base/random.h"

namespace trireme::worker::evaluation {
namespace {

using Positions = std::vector<std::int64_t>;

// Fisher-Yates with a stream of the class's own.
void shuffle(Positions& positions, std::uint64_t seed, std::uint64_t of_class) {
  RandomStream random(seed, RandomPurpose::kProbeDraw, of_class);
  for (std::size_t i = positions.size(); i > 1; --i) std::swap(positions[i - 1], positions[random.below(i)]);
}

at::Tensor tensor_of(Positions positions) {
  std::sort(positions.begin(), positions.end());
  return at::tensor(positions, at::kLong);
}

Split draw(const at::Tensor& label_N, std::int64_t classes, std::uint64_t seed,
           const std::function<std::size_t(std::size_t of)>& how_many) {
  std::vector<Positions> members(static_cast<std::size_t>(classes));
  const at::Tensor labels = label_N.cpu().contiguous();
  const auto* label = labels.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < labels.numel(); ++i) members[static_cast<std::size_t>(label[i])].push_back(i);
  Positions chosen, rest;
  for (std::size_t k = 0; k < members.size(); ++k) {
    shuffle(members[k], seed, k);
    const auto cut = members[k].begin() +
                     static_cast<std::ptrdiff_t>(std::min(how_many(members[k].size()), members[k].size()));
    chosen.insert(chosen.end(), members[k].begin(), cut);
    rest.insert(rest.end(), cut, members[k].end());
  }
  return {tensor_of(std::move(chosen)), tensor_of(std::move(rest))};
}

}  // namespace

Split draw_shots(const at::Tensor& label_N, std::int64_t classes, std::int64_t shots, std::uint64_t seed) {
  return draw(label_N, classes, seed, [shots](std::size_t) { return static_cast<std::size_t>(shots); });
}

Split hold_out_fifth(const at::Tensor& label_N, std::int64_t classes, std::uint64_t seed) {
  return draw(label_N, classes, seed,
              [](std::size_t of) { return of < 2 ? 0 : std::max<std::size_t>(1, of / 5); });
}

}  // namespace trireme::worker::evaluation

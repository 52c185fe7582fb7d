// Batches that are a function of a key: any member or combination of the family, any shape.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>

#include "common/base/random.h"
#include "tests/worker/losses/support/full_matrix.h"

namespace trireme::worker::losses {

class Random {
 public:
  explicit Random(std::uint64_t key) : stream_(7, RandomPurpose::kTest, key) {}
  at::Tensor rows(std::int64_t n, std::int64_t width, at::ScalarType type = at::kDouble) {
    at::Tensor x = at::empty({n, width}, at::kDouble);
    for (std::int64_t i = 0; i < x.numel(); ++i) x.data_ptr<double>()[i] = stream_.normal();
    return (x / x.norm(2, {1}, true)).to(type);
  }
  std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>(stream_.below(static_cast<std::uint64_t>(bound)));
  }
  double uniform(double low, double high) { return stream_.uniform(low, high); }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return *(values.begin() + below(static_cast<std::int64_t>(values.size())));
  }

 private:
  RandomStream stream_;
};

// Any member or combination on any shape.
inline WholeBatch random_batch(std::uint64_t key, at::ScalarType type = at::kDouble) {
  Random random(key);
  WholeBatch batch;
  batch.slots = random.one_of<std::int64_t>({1, 2, 3, 4, 8});
  const auto rows = batch.slots * (1 + random.below(6)), width = 1 + random.below(12);
  const auto n = std::max<std::int64_t>(rows, 2 * batch.slots);
  batch.image = random.rows(n, width, type);
  for (auto p = 1 + random.below(2); p > 0; --p) batch.texts.push_back(random.rows(n, width, type));
  batch.live = at::ones({n}, at::kByte);
  for (std::int64_t i = 2; i < n; ++i)
    if (random.below(6) == 0) batch.live[i] = 0;
  if (random.below(2) == 0)
    for (std::size_t p = 0; p < batch.texts.size(); ++p) {
      batch.weights.push_back(at::empty({n}, at::kDouble));
      for (std::int64_t i = 0; i < n; ++i) batch.weights.back()[i] = random.uniform(0, 2);
    }
  if (random.below(3) == 0) {
    batch.labels = at::empty({n}, at::kLong);
    for (std::int64_t i = 0; i < n; ++i) batch.labels[i] = random.below(n / 2 + 1);
  }
  auto& o = batch.options;
  o.kind = random.below(4) == 0 ? ContrastiveKind::kSigmoid : ContrastiveKind::kSoftmax;
  o.reduction = random.one_of({Reduction::kHalfMean, Reduction::kSumOfMeans, Reduction::kSum});
  if (o.kind == ContrastiveKind::kSoftmax) {
    o.smoothing = random.one_of({0.0, 0.0, 0.1, 0.5});
    o.alpha = random.one_of({1.0, 1.0, 0.999, 0.5});
    o.beta = random.one_of({0.0, 0.0, 0.25, 1.0, 3.0});
    o.detach_weights = random.below(2) == 0;
  }
  o.negative_fraction = random.one_of({1.0, 1.0, 0.5, 0.25});
  o.seed = static_cast<std::uint64_t>(random.below(1000));
  batch.point = {.scale = random.one_of({1.0, 5.0, 20.0, 100.0}),
                 .bias = random.uniform(-5, 5),
                 .step = random.below(1000)};
  return batch;
}

}  // namespace trireme::worker::losses

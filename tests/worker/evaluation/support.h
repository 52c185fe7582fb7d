// Rows that a formula gives, the same in tests/oracles/probes.py.
#pragma once

#include <ATen/ATen.h>

namespace trireme::worker::evaluation {

struct ProbeRows {
  at::Tensor x_N5, label_N;
};

inline ProbeRows probe_rows(std::int64_t first, std::int64_t count) {
  const auto i = at::arange(first, first + count, at::kDouble).unsqueeze(1);
  const auto k = at::arange(1, 6, at::kDouble), j = at::arange(1, 4, at::kDouble);
  const auto x = at::sin(0.7 * i * k + 0.3 * k);
  return {x, (x.narrow(1, 0, 3) + 0.8 * at::cos(2.1 * i + j)).argmax(1)};
}

}  // namespace trireme::worker::evaluation

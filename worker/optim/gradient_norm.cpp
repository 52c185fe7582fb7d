#include "worker/optim/gradient_norm.h"

#include <ATen/ATen.h>

#include <cmath>

namespace trireme::worker::optim {

double gradient_norm(const std::vector<at::Tensor>& gradients, const ForEach& for_each) {
  std::vector<double> squares(gradients.size());
  for_each(static_cast<std::int64_t>(gradients.size()), [&](std::int64_t i) {
    const auto norm = at::norm(gradients[static_cast<std::size_t>(i)], 2, at::kDouble).item<double>();
    squares[static_cast<std::size_t>(i)] = norm * norm;
  });
  double sum = 0;
  for (const double square : squares) sum += square;
  return std::sqrt(sum);
}

double clip_gradients(const std::vector<at::Tensor>& gradients, double norm, double most,
                      const ForEach& for_each) {
  if (most <= 0 || norm <= most) return 1;
  const double factor = most / norm;
  for_each(static_cast<std::int64_t>(gradients.size()),
           [&](std::int64_t i) { gradients[static_cast<std::size_t>(i)].mul_(factor); });
  return factor;
}

}  // namespace trireme::worker::optim

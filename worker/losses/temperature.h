// The learnt or fixed temperature as a parameter (METHODS 0): CLIP's logit_scale = ln(1/tau) or ALIGN's sigma
// = tau. The loss works with scale = 1/tau and gives dL/d ln(scale).
#pragma once

#include <utility>

namespace trireme::worker::losses {

enum class TemperatureKind { kLogitScale, kSigma };

struct Temperature {
  TemperatureKind kind = TemperatureKind::kLogitScale;
  bool learnt = true;
  double min_scale = 1, max_scale = 100;  // clamp after each update

  double scale(double parameter) const;  // throws kInvalid: sigma not over 0
  // dL/d parameter; 0 when it is fixed.
  double gradient(double parameter, double log_scale_gradient) const;
  std::pair<double, double> bounds() const;  // of the parameter: least, most
  double parameter_of(double tau) const;
};

}  // namespace trireme::worker::losses

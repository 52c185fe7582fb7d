#include "worker/losses/temperature.h"

#include <cmath>
#include <string>

#include "common/base/error.h"

namespace trireme::worker::losses {

double Temperature::scale(double parameter) const {
  if (kind == TemperatureKind::kLogitScale) return std::exp(parameter);
  if (!(parameter > 0))
    throw Error(ErrorKind::kInvalid, "sigma is " + std::to_string(parameter) + ": a temperature is over 0");
  return 1 / parameter;
}

double Temperature::gradient(double parameter, double log_scale_gradient) const {
  if (!learnt) return 0;
  return kind == TemperatureKind::kLogitScale ? log_scale_gradient : -log_scale_gradient / parameter;
}

std::pair<double, double> Temperature::bounds() const {
  if (kind == TemperatureKind::kLogitScale) return {std::log(min_scale), std::log(max_scale)};
  return {1 / max_scale, 1 / min_scale};
}

double Temperature::parameter_of(double tau) const {
  return kind == TemperatureKind::kLogitScale ? std::log(1 / tau) : tau;
}

}  // namespace trireme::worker::losses

#include "worker/optim/parameter_groups.h"

#include "common/base/error.h"
#include "common/base/name_pattern.h"

namespace trireme::worker::optim {

std::vector<Treatment> treatments(const NamedTensors& parameters, const GroupOptions& options) {
  std::vector<Treatment> result;
  std::vector<bool> used(options.rules.size());
  for (const auto& [name, tensor] : parameters) {
    Treatment one{options.decay_all || tensor.dim() >= 2 ? options.weight_decay : 0.0};
    bool taken = false;
    for (std::size_t r = 0; r < options.rules.size(); ++r) {
      const GroupRule& rule = options.rules[r];
      if (!matches(rule.pattern, name)) continue;
      used[r] = true;  // also where an earlier rule takes precedence
      if (taken) continue;
      taken = true;
      one.weight_decay *= rule.decay_factor;
      one.learning_rate_factor = rule.learning_rate_factor;
      one.layer_adaptation = rule.layer_adaptation;
    }
    result.push_back(one);
  }
  for (std::size_t r = 0; r < used.size(); ++r)
    if (!used[r])
      throw Error(ErrorKind::kInvalid,
                  "no parameter's name matches optimizer.groups pattern '" + options.rules[r].pattern + "'",
                  "names are those in model.safetensors, for example " +
                      (parameters.empty() ? "none" : parameters.front().first));
  return result;
}

}  // namespace trireme::worker::optim

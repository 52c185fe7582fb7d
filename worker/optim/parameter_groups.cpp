#include "worker/optim/parameter_groups.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "common/base/error.h"
#include "common/base/name_pattern.h"

namespace trireme::worker::optim {

namespace {

struct Layer {
  bool visual = false;
  std::int64_t block = -1;  // -1: none
  bool embedding = false;
};

// "visual.transformer.resblocks.3.…", "visual._blocks.3.…", "text.encoder.layer.3.…"
Layer layer_of(const std::string& name) {
  Layer layer{name.starts_with("visual.")};
  for (const char* mark : {"blocks.", ".layer."})
    if (const auto at = name.find(mark); at != std::string::npos) {
      const char* const digits = name.c_str() + at + std::strlen(mark);
      if (*digits >= '0' && *digits <= '9') layer.block = std::atoll(digits);
    }
  for (const char* mark : {"embedding", "conv1.", "ln_pre.", "_conv_stem.", "visual._bn0."})
    layer.embedding = layer.embedding || (layer.block < 0 && name.find(mark) != std::string::npos);
  return layer;
}

}  // namespace

std::vector<std::int64_t> layer_depths(const NamedTensors& parameters) {
  std::int64_t blocks[2] = {0, 0};  // of the text tower, of the image tower
  for (const auto& [name, tensor] : parameters) {
    const Layer layer = layer_of(name);
    blocks[layer.visual] = std::max(blocks[layer.visual], layer.block + 1);
  }
  std::vector<std::int64_t> depths;
  for (const auto& [name, tensor] : parameters) {
    const Layer layer = layer_of(name);
    const std::int64_t all = blocks[layer.visual];
    depths.push_back(layer.block >= 0 ? all - layer.block : layer.embedding ? all + 1 : 0);
  }
  return depths;
}

std::vector<Treatment> treatments(const NamedTensors& parameters, const GroupOptions& options) {
  std::vector<Treatment> result;
  std::vector<bool> used(options.rules.size());
  const auto depths = layer_depths(parameters);
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
    if (options.layer_decay != 1)
      one.learning_rate_factor *= std::pow(options.layer_decay, static_cast<double>(depths[result.size()]));
    if (!name.starts_with(options.first)) one.late_updates = options.late_updates;
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

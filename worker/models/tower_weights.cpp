#include "worker/models/tower_weights.h"

#include <algorithm>
#include <set>
#include <sstream>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "common/base/nearest_name.h"

namespace trireme::worker::models {
namespace {

constexpr std::int64_t kMostListed = 20;

bool starts(const std::string& name, const char* prefix) {
  return name.rfind(prefix, 0) == 0;
}
bool ends(const std::string& name, const std::string& suffix) {
  return name.size() >= suffix.size() &&
         name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
}

std::string shape_text(at::IntArrayRef sizes) {
  std::ostringstream out;
  out << sizes;
  return out.str();
}

bool is_standardization(const std::string& name) {
  return starts(name, "image_mean") || starts(name, "image_inverse_std") || starts(name, "text_mean") ||
         starts(name, "text_inverse_std");
}

bool is_logit(const std::string& name) {
  return name == "logit_scale" || name == "logit_bias";
}

}  // namespace

void WeightFaults::add(const std::string& fault) {
  if (count_++ < kMostListed) lines_ += "\n  " + fault;
}

void WeightFaults::missing(const std::string& name, const std::vector<std::string>& there) {
  const std::string near = nearest_name(name, there);
  add("missing: " + name + (near.empty() || near == name ? "" : " (nearest in the file: " + near + ")"));
}

void WeightFaults::surplus(const std::string& name, const std::vector<std::string>& expected) {
  const std::string near = nearest_name(name, expected);
  add("surplus: " + name + (near.empty() || near == name ? "" : " (nearest in the model: " + near + ")"));
}

void WeightFaults::mismatch(const std::string& name, at::IntArrayRef expected, at::IntArrayRef found) {
  add("shape: " + name + " is " + shape_text(found) + ", the model needs " + shape_text(expected));
}

void WeightFaults::throw_if_any(const std::string& hint) const {
  if (count_ == 0) return;
  const std::string more =
      count_ > kMostListed ? "\n  … and " + std::to_string(count_ - kMostListed) + " more" : "";
  throw Error(ErrorKind::kInvalid,
              source_ + " does not fit the model (" + std::to_string(count_) + " faults):" + lines_ + more,
              hint);
}

NameMap clip_image_names() {
  return {[](const std::string& ours) { return std::vector<std::string>{ours}; },
          [](const std::string& theirs) {
            return !starts(theirs, "visual.") || starts(theirs, "visual.projection.");
          }};
}

NameMap clip_text_names() {
  return {[](const std::string& ours) {
            return std::vector<std::string>{ours, "text." + ours};
          },
          [](const std::string& theirs) {
            return starts(theirs, "visual.") || is_logit(theirs) || is_standardization(theirs) ||
                   theirs == "attn_mask" || theirs == "text.attn_mask" || theirs == "input_resolution" ||
                   theirs == "context_length" || theirs == "vocab_size" || starts(theirs, "text.projection.");
          }};
}

NameMap efficientnet_names() {
  return {[](const std::string& ours) {
            return std::vector<std::string>{ours, ours.substr(std::string("visual.").size())};
          },
          [](const std::string& theirs) {
            return starts(theirs, "_fc.") || ends(theirs, "num_batches_tracked") ||
                   (!starts(theirs, "visual.") && !starts(theirs, "_")) ||
                   starts(theirs, "visual.projection.");
          }};
}

NameMap bert_names() {
  return {[](const std::string& ours) {
            const std::string bare = ours.substr(std::string("text.").size());
            return std::vector<std::string>{ours, bare, "bert." + bare};
          },
          [](const std::string& theirs) {
            return theirs.find("pooler.") != std::string::npos || ends(theirs, "position_ids") ||
                   starts(theirs, "cls.") || starts(theirs, "visual.") || is_logit(theirs) ||
                   is_standardization(theirs) || starts(theirs, "text.projection.");
          }};
}

void load_tower(const checkpoint::SafetensorsFile& file, const std::string& path, const NameMap& names,
                const std::vector<nn::NamedTensor>& targets, const std::vector<std::string>& optional) {
  at::NoGradGuard no_grad;
  const std::vector<std::string> there = file.names();
  std::vector<std::string> expected;
  std::set<std::string> used;
  WeightFaults faults("weights " + path);
  for (const nn::NamedTensor& target : targets) {
    const std::vector<std::string> candidates = names.candidates(target.name);
    expected.insert(expected.end(), candidates.begin(), candidates.end());
    const auto found = std::find_if(candidates.begin(), candidates.end(),
                                    [&](const std::string& name) { return file.contains(name); });
    if (found == candidates.end()) {
      if (std::find(optional.begin(), optional.end(), target.name) == optional.end())
        faults.missing(target.name, there);
      continue;
    }
    used.insert(*found);
    at::Tensor value = file.view(*found);
    if (target.name == "positional_embedding" && value.dim() == 2 && value.size(0) > target.tensor.size(0))
      value = value.slice(0, 0, target.tensor.size(0));
    if (value.sizes() != target.tensor.sizes())
      faults.mismatch(target.name, target.tensor.sizes(), value.sizes());
    else
      at::Tensor(target.tensor).copy_(value);
  }
  for (const std::string& name : there)
    if (used.count(name) == 0 && !names.ignored(name)) faults.surplus(name, expected);
  faults.throw_if_any(
      "set the tower's kind, width, layers, heads, patch_px, image_px, context and embed_dim to "
      "those of the weights, or name another file");
}

}  // namespace trireme::worker::models

// The tensors of each published layout, one function per family: the rule for a tensor of ours, nothing where
// the layout has none. Used by name_map.cpp alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/checkpoint/name_map.h"

namespace trireme::worker::checkpoint {

std::optional<TensorRule> hf_clip_rule(const std::string& ours);
std::optional<TensorRule> hf_siglip_rule(const std::string& ours);
std::optional<TensorRule> hf_blip_rule(const std::string& ours);
std::optional<TensorRule> timm_vit_rule(const std::string& ours);
std::optional<TensorRule> open_clip_rule(const std::string& ours);
std::optional<TensorRule> open_clip_timm_rule(const std::string& ours);
std::optional<TensorRule> hf_bert_rule(const std::string& ours, const std::string& prefix);
std::optional<TensorRule> hf_align_rule(const std::string& ours);
// `repeats`: blocks per stage.
std::optional<TensorRule> timm_efficientnet_rule(const std::string& ours,
                                                 const std::vector<std::int64_t>& repeats);

}  // namespace trireme::worker::checkpoint

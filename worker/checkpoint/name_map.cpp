#include "worker/checkpoint/name_map.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/checkpoint/layout_rules.h"

namespace trireme::worker::checkpoint {
namespace {

using Op = TensorRule::Op;

bool ends(const std::string& name, const char* suffix) {
  return name.ends_with(suffix);
}

}  // namespace

NameMap::NameMap(Layout layout, std::vector<std::int64_t> repeats)
    : layout_(layout), repeats_(std::move(repeats)) {}

const char* layout_name(Layout layout) {
  switch (layout) {
    case Layout::kTrireme:
      return "open_clip";
    case Layout::kHfClip:
      return "hf_clip";
    case Layout::kHfSiglip:
      return "hf_siglip";
    case Layout::kOpenClipTimm:
      return "open_clip_timm";
    case Layout::kHfAlign:
      return "hf_align";
    case Layout::kHfBert:
      return "hf_bert";
    case Layout::kHfBlip:
      return "hf_blip";
    case Layout::kTimmVit:
      return "timm_vit";
    case Layout::kTimmEfficientNet:
      return "timm_efficientnet";
    case Layout::kEfficientNetLite:
      return "efficientnet_lite";
  }
  return "";
}

Layout detect_layout(const std::vector<std::string>& names, const std::string& path) {
  const auto any = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const auto prefix = [&](const char* head) {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return name.starts_with(head); });
  };
  if (any("vision_model.embeddings.convolution.weight")) return Layout::kHfAlign;
  if (any("vision_model.embeddings.position_embedding") ||
      prefix("vision_model.encoder.layers.0.self_attn.qkv"))
    return Layout::kHfBlip;
  if (prefix("visual.trunk.")) return Layout::kOpenClipTimm;
  if (any("vision_model.head.probe") || any("text_model.head.weight")) return Layout::kHfSiglip;
  if (prefix("vision_model.") || any("text_model.embeddings.token_embedding.weight")) return Layout::kHfClip;
  if (any("_conv_stem.weight")) return Layout::kEfficientNetLite;
  if (any("conv_stem.weight")) return Layout::kTimmEfficientNet;
  if (any("patch_embed.proj.weight")) return Layout::kTimmVit;
  if (any("embeddings.word_embeddings.weight") || any("bert.embeddings.word_embeddings.weight"))
    return Layout::kHfBert;
  if (prefix("visual.") || any("token_embedding.weight") || any("text.token_embedding.weight") ||
      prefix("text.embeddings."))
    return Layout::kTrireme;
  throw Error(ErrorKind::kInvalid,
              path + ": its " + std::to_string(names.size()) +
                  " tensors are of no layout that is known here" +
                  (names.empty() ? "" : "; the first is called " + names.front()),
              "known are open_clip and OpenAI CLIP, transformers' CLIP, ALIGN, BERT and BLIP, timm's vision "
              "transformer and EfficientNet, EfficientNet-Lite");
}

std::optional<TensorRule> NameMap::rule(const std::string& ours) const {
  switch (layout_) {
    case Layout::kTrireme:
      return open_clip_rule(ours);
    case Layout::kHfClip:
      return hf_clip_rule(ours);
    case Layout::kHfSiglip:
      return hf_siglip_rule(ours);
    case Layout::kOpenClipTimm:
      return open_clip_timm_rule(ours);
    case Layout::kHfAlign:
      return hf_align_rule(ours);
    case Layout::kHfBert:
      return hf_bert_rule(ours, "");
    case Layout::kHfBlip:
      return hf_blip_rule(ours);
    case Layout::kTimmVit:
      return timm_vit_rule(ours);
    case Layout::kTimmEfficientNet:
      return timm_efficientnet_rule(ours, repeats_);
    case Layout::kEfficientNetLite:
      if (ours.starts_with("visual._")) return TensorRule{{ours.substr(std::string("visual.").size())}};
      return std::nullopt;
  }
  return std::nullopt;
}

bool NameMap::ignored(const std::string& theirs) const {
  for (const char* suffix : {"num_batches_tracked", "position_ids", "token_type_ids", "attn_mask"})
    if (ends(theirs, suffix)) return true;
  for (const char* name : {"input_resolution", "context_length", "vocab_size", "logit_bias", "image_mean",
                           "image_inverse_std", "text_mean", "text_inverse_std", "n_averaged"})
    if (theirs == name) return true;
  for (const char* head : {"cls.", "classifier.", "_fc.", "head.", "fc_norm."})
    if (theirs.starts_with(head)) return true;
  return theirs.find("pooler.") != std::string::npos;
}

std::optional<std::vector<std::string>> find_theirs(const SafetensorsFile& file, const TensorRule& rule) {
  for (const char* prefix : {"", "text.", "bert."}) {
    const auto all_of = [&](const std::vector<std::string>& wanted) {
      std::vector<std::string> names;
      for (const std::string& name : wanted)
        if (file.contains(prefix + name)) names.push_back(prefix + name);
      return names.size() == wanted.size() ? std::optional(names) : std::nullopt;
    };
    if (auto names = all_of(rule.theirs)) return names;
    for (const auto& wanted : rule.alternatives)
      if (auto names = all_of(wanted)) return names;
    if (!rule.otherwise.empty() && file.contains(prefix + rule.otherwise))
      return std::vector{prefix + rule.otherwise};
  }
  return std::nullopt;
}

at::Tensor read_rule(const SafetensorsFile& file, const std::vector<std::string>& theirs, Op op,
                     at::IntArrayRef ours) {
  const at::Tensor first = file.view(theirs.front());
  const std::int64_t elements = c10::multiply_integers(ours);
  if (op == Op::kTranspose) return first.dim() == 2 ? first.t() : first;
  if (op == Op::kReshape && first.numel() == elements) return first.reshape(ours);
  // [1, G, T] whose G is of another resolution.
  if (op == Op::kReshape && first.dim() == 3 && first.size(0) == 1) return first.squeeze(0);
  if (op == Op::kNegativeLog) return first.to(at::kFloat).log().neg().reshape(ours);
  if (op == Op::kStack || theirs.size() > 1) {
    std::vector<at::Tensor> parts;
    for (const std::string& name : theirs) parts.push_back(file.view(name));
    if (parts.size() == 2 && ours.size() == 1 && first.dim() == 1 && ours[0] == 3 * first.size(0) &&
        parts[1].sizes() == first.sizes())
      parts.insert(parts.begin() + 1, at::zeros_like(first));
    for (const at::Tensor& part : parts)
      if (part.dim() == 0 || first.dim() != part.dim() || part.sizes().slice(1) != first.sizes().slice(1))
        return first;  // the caller reports the shape
    return at::cat(parts, 0);
  }
  if (ours.empty() && first.numel() == 1) return first.reshape(ours);
  return first;
}

std::vector<std::pair<std::string, at::Tensor>> write_rule(const TensorRule& rule, const at::Tensor& ours) {
  const at::Tensor value = ours.detach().cpu();
  if (rule.op == Op::kTranspose) return {{rule.theirs.front(), value.t().contiguous()}};
  if (rule.op == Op::kNegativeLog) return {{rule.theirs.front(), value.neg().exp()}};
  if (rule.op != Op::kStack) return {{rule.theirs.front(), value.contiguous()}};
  std::vector<std::pair<std::string, at::Tensor>> parts;
  const auto chunks = value.chunk(static_cast<std::int64_t>(rule.theirs.size()), 0);
  for (std::size_t i = 0; i < chunks.size(); ++i) parts.emplace_back(rule.theirs[i], chunks[i].contiguous());
  return parts;
}

}  // namespace trireme::worker::checkpoint

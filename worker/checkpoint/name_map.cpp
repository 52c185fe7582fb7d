#include "worker/checkpoint/name_map.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>

#include <ATen/ATen.h>

#include "common/base/error.h"

namespace trireme::worker::checkpoint {
namespace {

using Op = TensorRule::Op;
using Table = std::vector<std::pair<std::string, TensorRule>>;

TensorRule same(std::string theirs) {
  return {{std::move(theirs)}, Op::kSame, ""};
}

const TensorRule* find(const Table& table, const std::string& name) {
  for (const auto& [ours, rule] : table)
    if (ours == name) return &rule;
  return nullptr;
}

// "<head><number><rest>" -> number and rest.
struct Numbered {
  std::int64_t number = 0;
  std::string rest;
};
std::optional<Numbered> numbered(const std::string& name, const std::string& head) {
  if (!name.starts_with(head)) return std::nullopt;
  const std::size_t dot = name.find('.', head.size());
  if (dot == std::string::npos || dot == head.size()) return std::nullopt;
  return Numbered{std::atoll(name.c_str() + head.size()), name.substr(dot)};
}

// A block of CLIP's transformer: our suffixes and theirs.
std::optional<TensorRule> block_rule(const std::string& name, const std::string& ours_head,
                                     const std::string& theirs_head,
                                     const std::map<std::string, std::string>& suffixes, bool split_qkv) {
  const auto at = numbered(name, ours_head);
  if (!at) return std::nullopt;
  const std::string prefix = theirs_head + std::to_string(at->number);
  for (const char* kind : {"weight", "bias"}) {
    if (at->rest != std::string(".attn.in_proj_") + kind) continue;
    if (!split_qkv) return same(prefix + suffixes.at(".attn.in_proj_") + kind);
    TensorRule rule{{}, Op::kStack};
    for (const char* part : {"q", "k", "v"})
      rule.theirs.push_back(prefix + ".self_attn." + part + "_proj." + kind);
    return rule;
  }
  const std::size_t dot = at->rest.rfind('.');
  const auto found = suffixes.find(at->rest.substr(0, dot));
  if (found == suffixes.end()) return std::nullopt;
  return same(prefix + found->second + at->rest.substr(dot));
}

const std::map<std::string, std::string> kHfClipBlock{{".ln_1", ".layer_norm1"},
                                                      {".ln_2", ".layer_norm2"},
                                                      {".attn.out_proj", ".self_attn.out_proj"},
                                                      {".mlp.c_fc", ".mlp.fc1"},
                                                      {".mlp.c_proj", ".mlp.fc2"}};
const std::map<std::string, std::string> kHfBlipBlock{{".ln_1", ".layer_norm1"},
                                                      {".ln_2", ".layer_norm2"},
                                                      {".attn.in_proj_", ".self_attn.qkv."},
                                                      {".attn.out_proj", ".self_attn.projection"},
                                                      {".mlp.c_fc", ".mlp.fc1"},
                                                      {".mlp.c_proj", ".mlp.fc2"}};
const std::map<std::string, std::string> kTimmBlock{{".ln_1", ".norm1"},
                                                    {".ln_2", ".norm2"},
                                                    {".attn.in_proj_", ".attn.qkv."},
                                                    {".attn.out_proj", ".attn.proj"},
                                                    {".mlp.c_fc", ".mlp.fc1"},
                                                    {".mlp.c_proj", ".mlp.fc2"}};

std::optional<TensorRule> hf_clip(const std::string& ours) {
  static const Table kTable{
      {"visual.class_embedding", same("vision_model.embeddings.class_embedding")},
      {"visual.positional_embedding", same("vision_model.embeddings.position_embedding.weight")},
      {"visual.conv1.weight", same("vision_model.embeddings.patch_embedding.weight")},
      {"visual.ln_pre.weight", same("vision_model.pre_layrnorm.weight")},  // their spelling
      {"visual.ln_pre.bias", same("vision_model.pre_layrnorm.bias")},
      {"visual.ln_post.weight", same("vision_model.post_layernorm.weight")},
      {"visual.ln_post.bias", same("vision_model.post_layernorm.bias")},
      {"visual.proj", {{"visual_projection.weight"}, Op::kTranspose}},
      {"token_embedding.weight", same("text_model.embeddings.token_embedding.weight")},
      {"positional_embedding", same("text_model.embeddings.position_embedding.weight")},
      {"ln_final.weight", same("text_model.final_layer_norm.weight")},
      {"ln_final.bias", same("text_model.final_layer_norm.bias")},
      {"text_projection", {{"text_projection.weight"}, Op::kTranspose}},
      {"logit_scale", same("logit_scale")}};
  if (const TensorRule* rule = find(kTable, ours)) return *rule;
  if (auto rule = block_rule(ours, "visual.transformer.resblocks.", "vision_model.encoder.layers.",
                             kHfClipBlock, true))
    return rule;
  return block_rule(ours, "transformer.resblocks.", "text_model.encoder.layers.", kHfClipBlock, true);
}

// BLIP's caption decoder. Ours keeps projections of one input side by side.
std::optional<TensorRule> hf_blip_decoder(const std::string& ours) {
  static const std::string kTheirs = "text_decoder.bert.", kHead = "text_decoder.cls.predictions.";
  static const std::map<std::string, std::vector<std::string>> kLayer{
      {".self.qkv", {".attention.self.query", ".attention.self.key", ".attention.self.value"}},
      {".self.out", {".attention.output.dense"}},
      {".self.norm", {".attention.output.LayerNorm"}},
      {".cross.query", {".crossattention.self.query"}},
      {".cross.key_value", {".crossattention.self.key", ".crossattention.self.value"}},
      {".cross.out", {".crossattention.output.dense"}},
      {".cross.norm", {".crossattention.output.LayerNorm"}},
      {".mlp.in", {".intermediate.dense"}},
      {".mlp.out", {".output.dense"}},
      {".mlp.norm", {".output.LayerNorm"}}};
  static const std::map<std::string, std::string> kHeadNames{
      {"decoder.head.dense.weight", "transform.dense.weight"},
      {"decoder.head.dense.bias", "transform.dense.bias"},
      {"decoder.head.norm.weight", "transform.LayerNorm.weight"},
      {"decoder.head.norm.bias", "transform.LayerNorm.bias"},
      {"decoder.head.weight", "decoder.weight"}};
  if (ours.starts_with("decoder.embeddings."))
    return same(kTheirs + ours.substr(std::string("decoder.").size()));
  if (ours == "decoder.head.bias") return TensorRule{{kHead + "bias"}, Op::kSame, kHead + "decoder.bias"};
  if (const auto head = kHeadNames.find(ours); head != kHeadNames.end()) return same(kHead + head->second);
  const auto at = numbered(ours, "decoder.layers.");
  if (!at) return std::nullopt;
  const std::size_t dot = at->rest.rfind('.');
  const auto found = kLayer.find(at->rest.substr(0, dot));
  if (found == kLayer.end()) return std::nullopt;
  TensorRule rule{{}, found->second.size() > 1 ? Op::kStack : Op::kSame};
  for (const std::string& name : found->second)
    rule.theirs.push_back(kTheirs + "encoder.layer." + std::to_string(at->number) + name +
                          at->rest.substr(dot));
  return rule;
}

std::optional<TensorRule> hf_blip(const std::string& ours) {
  if (ours.starts_with("decoder.")) return hf_blip_decoder(ours);
  static const Table kTable{
      {"visual.class_embedding", {{"vision_model.embeddings.class_embedding"}, Op::kReshape}},
      {"visual.positional_embedding", {{"vision_model.embeddings.position_embedding"}, Op::kReshape}},
      {"visual.conv1.weight", same("vision_model.embeddings.patch_embedding.weight")},
      {"visual.conv1.bias", same("vision_model.embeddings.patch_embedding.bias")},
      {"visual.ln_post.weight", same("vision_model.post_layernorm.weight")},
      {"visual.ln_post.bias", same("vision_model.post_layernorm.bias")}};
  if (const TensorRule* rule = find(kTable, ours)) return *rule;
  return block_rule(ours, "visual.transformer.resblocks.", "vision_model.encoder.layers.", kHfBlipBlock,
                    false);
}

std::optional<TensorRule> timm_vit(const std::string& ours) {
  static const Table kTable{{"visual.class_embedding", {{"cls_token"}, Op::kReshape}},
                            {"visual.positional_embedding", {{"pos_embed"}, Op::kReshape}},
                            {"visual.conv1.weight", same("patch_embed.proj.weight")},
                            {"visual.conv1.bias", same("patch_embed.proj.bias")},
                            {"visual.ln_pre.weight", same("norm_pre.weight")},
                            {"visual.ln_pre.bias", same("norm_pre.bias")},
                            {"visual.ln_post.weight", same("norm.weight")},
                            {"visual.ln_post.bias", same("norm.bias")},
                            {"visual.proj", {{"head.weight"}, Op::kTranspose}}};
  if (const TensorRule* rule = find(kTable, ours)) return *rule;
  return block_rule(ours, "visual.transformer.resblocks.", "blocks.", kTimmBlock, false);
}

std::optional<TensorRule> hf_bert(const std::string& ours, const std::string& prefix) {
  for (const char* part : {"text.embeddings.", "text.encoder.", "text.pooler."})
    if (ours.starts_with(part)) return same(prefix + ours.substr(std::string("text.").size()));
  return std::nullopt;
}

std::optional<TensorRule> hf_align(const std::string& ours) {
  static const Table kTable{{"visual._conv_stem.weight", same("vision_model.embeddings.convolution.weight")},
                            {"text.projection.weight", same("text_projection.weight")},
                            {"text.projection.bias", same("text_projection.bias")},
                            {"logit_scale", {{"temperature"}, Op::kNegativeLog}}};
  static const std::map<std::string, std::string> kBlock{
      {"._expand_conv", ".expansion.expand_conv"},
      {"._bn0", ".expansion.expand_bn"},
      {"._depthwise_conv", ".depthwise_conv.depthwise_conv"},
      {"._bn1", ".depthwise_conv.depthwise_norm"},
      {"._se_reduce", ".squeeze_excite.reduce"},
      {"._se_expand", ".squeeze_excite.expand"},
      {"._project_conv", ".projection.project_conv"},
      {"._bn2", ".projection.project_bn"}};
  if (const TensorRule* rule = find(kTable, ours)) return *rule;
  if (ours.starts_with("visual._bn0."))
    return same("vision_model.embeddings.batchnorm." + ours.substr(std::string("visual._bn0.").size()));
  if (auto rule = block_rule(ours, "visual._blocks.", "vision_model.encoder.blocks.", kBlock, false))
    return rule;
  return hf_bert(ours, "text_model.");
}

// timm counts blocks within stages, and names those of the first stage, which do not expand, otherwise.
std::optional<TensorRule> timm_efficientnet(const std::string& ours,
                                            const std::vector<std::int64_t>& repeats) {
  static const std::map<std::string, std::string> kFirst{
      {"._depthwise_conv", ".conv_dw"},   {"._bn1", ".bn1"},
      {"._se_reduce", ".se.conv_reduce"}, {"._se_expand", ".se.conv_expand"},
      {"._project_conv", ".conv_pw"},     {"._bn2", ".bn2"}};
  static const std::map<std::string, std::string> kOther{
      {"._expand_conv", ".conv_pw"},      {"._bn0", ".bn1"},
      {"._depthwise_conv", ".conv_dw"},   {"._bn1", ".bn2"},
      {"._se_reduce", ".se.conv_reduce"}, {"._se_expand", ".se.conv_expand"},
      {"._project_conv", ".conv_pwl"},    {"._bn2", ".bn3"}};
  static const std::array<std::pair<const char*, const char*>, 4> kOutside{
      {{"visual._conv_stem.", "conv_stem."},
       {"visual._bn0.", "bn1."},
       {"visual._conv_head.", "conv_head."},
       {"visual._bn1.", "bn2."}}};
  for (const auto& [head, theirs] : kOutside)
    if (ours.starts_with(head)) return same(theirs + ours.substr(std::string(head).size()));
  const auto at = numbered(ours, "visual._blocks.");
  if (!at) return std::nullopt;
  std::int64_t block = at->number;
  std::size_t stage = 0;
  while (stage < repeats.size() && block >= repeats[stage]) block -= repeats[stage++];
  const auto& names = stage == 0 ? kFirst : kOther;
  const std::size_t dot = at->rest.find('.', 1);
  const auto found = names.find(at->rest.substr(0, dot));
  if (found == names.end()) return std::nullopt;
  return same("blocks." + std::to_string(stage) + "." + std::to_string(block) + found->second +
              at->rest.substr(dot));
}

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
  if (prefix("vision_model.") || any("text_model.embeddings.token_embedding.weight")) return Layout::kHfClip;
  if (any("_conv_stem.weight")) return Layout::kEfficientNetLite;
  if (any("conv_stem.weight")) return Layout::kTimmEfficientNet;
  if (any("patch_embed.proj.weight")) return Layout::kTimmVit;
  if (any("embeddings.word_embeddings.weight") || any("bert.embeddings.word_embeddings.weight"))
    return Layout::kHfBert;
  if (prefix("visual.") || prefix("module.visual.") || any("token_embedding.weight") ||
      any("text.token_embedding.weight") || prefix("text.embeddings."))
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
      return same(ours);
    case Layout::kHfClip:
      return hf_clip(ours);
    case Layout::kHfAlign:
      return hf_align(ours);
    case Layout::kHfBert:
      return hf_bert(ours, "");
    case Layout::kHfBlip:
      return hf_blip(ours);
    case Layout::kTimmVit:
      return timm_vit(ours);
    case Layout::kTimmEfficientNet:
      return timm_efficientnet(ours, repeats_);
    case Layout::kEfficientNetLite:
      if (ours.starts_with("visual._")) return same(ours.substr(std::string("visual.").size()));
      return std::nullopt;
  }
  return std::nullopt;
}

bool NameMap::ignored(const std::string& theirs) const {
  for (const char* suffix : {"num_batches_tracked", "position_ids", "token_type_ids", "attn_mask"})
    if (ends(theirs, suffix)) return true;
  for (const char* name : {"input_resolution", "context_length", "vocab_size", "logit_bias", "image_mean",
                           "image_inverse_std", "text_mean", "text_inverse_std"})
    if (theirs == name) return true;
  for (const char* head : {"cls.", "classifier.", "_fc.", "head.", "fc_norm."})
    if (theirs.starts_with(head)) return true;
  return theirs.find("pooler.") != std::string::npos;
}

std::optional<std::vector<std::string>> find_theirs(const SafetensorsFile& file, const TensorRule& rule) {
  for (const char* prefix : {"", "text.", "bert.", "module.", "module.text."}) {
    std::vector<std::string> names;
    for (const std::string& name : rule.theirs)
      if (file.contains(prefix + name)) names.push_back(prefix + name);
    if (names.size() == rule.theirs.size()) return names;
  }
  if (!rule.otherwise.empty() && file.contains(rule.otherwise)) return std::vector{rule.otherwise};
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
  if (op == Op::kStack) {
    std::vector<at::Tensor> parts;
    for (const std::string& name : theirs) parts.push_back(file.view(name));
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

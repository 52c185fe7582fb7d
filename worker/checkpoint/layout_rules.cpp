#include "worker/checkpoint/layout_rules.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>

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
                                                    {".mlp.c_proj", ".mlp.fc2"},
                                                    {".ls_1", ".ls1"},
                                                    {".ls_2", ".ls2"},
                                                    {".attn.ln_inner", ".attn.norm"},
                                                    {".mlp.ln", ".mlp.norm"}};

}  // namespace

std::optional<TensorRule> hf_clip_rule(const std::string& ours) {
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

// As CLIP's but for the heads; the image tower has no class token.
std::optional<TensorRule> hf_siglip_rule(const std::string& ours) {
  static const std::string kHead = "vision_model.head.";
  static const Table kTable{{"visual.conv1.bias", same("vision_model.embeddings.patch_embedding.bias")},
                            {"visual.attn_pool.latent", same(kHead + "probe")},
                            {"visual.attn_pool.in_proj_weight", same(kHead + "attention.in_proj_weight")},
                            {"visual.attn_pool.in_proj_bias", same(kHead + "attention.in_proj_bias")},
                            {"visual.attn_pool.proj.weight", same(kHead + "attention.out_proj.weight")},
                            {"visual.attn_pool.proj.bias", same(kHead + "attention.out_proj.bias")},
                            {"visual.attn_pool.norm.weight", same(kHead + "layernorm.weight")},
                            {"visual.attn_pool.norm.bias", same(kHead + "layernorm.bias")},
                            {"text.projection.weight", same("text_model.head.weight")},
                            {"text.projection.bias", same("text_model.head.bias")}};
  if (const TensorRule* rule = find(kTable, ours)) return *rule;
  static const std::string kMlp = "visual.attn_pool.mlp.";
  if (ours.starts_with(kMlp)) return same(kHead + "mlp." + ours.substr(kMlp.size()));
  if (ours == "visual.class_embedding" || ours == "visual.proj" || ours == "text_projection")
    return std::nullopt;
  return hf_clip_rule(ours);
}

// BLIP's caption decoder. Ours keeps projections of one input side by side.
static std::optional<TensorRule> hf_blip_decoder(const std::string& ours) {
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
    rule.theirs.push_back(std::string(kTheirs)
                              .append("encoder.layer.")
                              .append(std::to_string(at->number))
                              .append(name)
                              .append(at->rest.substr(dot)));
  return rule;
}

std::optional<TensorRule> hf_blip_rule(const std::string& ours) {
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

// EVA's blocks have queries, keys (without bias) and values apart, and the two products of a gated MLP.
static void add_eva_names(const std::string& ours, TensorRule& rule) {
  const std::string& name = rule.theirs.front();
  const auto instead = [&](const char* tail, std::initializer_list<const char*> others) {
    std::vector<std::string> names;
    for (const char* other : others)
      names.push_back(name.substr(0, name.size() - std::string(tail).size()) + other);
    rule.alternatives.push_back(std::move(names));
  };
  if (ours.ends_with("in_proj_weight"))
    instead("qkv.weight", {"q_proj.weight", "k_proj.weight", "v_proj.weight"});
  if (ours.ends_with("in_proj_bias")) {
    instead("qkv.bias", {"q_proj.bias", "v_proj.bias"});
    instead("qkv.bias", {"q_bias", "v_bias"});
    rule.zero_if_none = true;
  }
  for (const std::string kind : {"weight", "bias"})
    if (ours.ends_with("c_fc." + kind))
      instead(("fc1." + kind).c_str(), {("fc1_g." + kind).c_str(), ("fc1_x." + kind).c_str()});
}

std::optional<TensorRule> timm_vit_rule(const std::string& ours) {
  static const Table kTable{
      {"visual.class_embedding", {{"cls_token"}, Op::kReshape}},
      {"visual.positional_embedding", {{"pos_embed"}, Op::kReshape}},
      {"visual.conv1.weight", same("patch_embed.proj.weight")},
      {"visual.conv1.bias", same("patch_embed.proj.bias")},
      {"visual.ln_pre.weight", same("norm_pre.weight")},
      {"visual.ln_pre.bias", same("norm_pre.bias")},
      {"visual.ln_post.weight", {{"norm.weight"}, Op::kSame, "fc_norm.weight"}},
      {"visual.ln_post.bias", {{"norm.bias"}, Op::kSame, "fc_norm.bias"}},
      {"visual.attn_pool.in_proj_weight", {{"attn_pool.q.weight", "attn_pool.kv.weight"}, Op::kStack}},
      {"visual.attn_pool.in_proj_bias", {{"attn_pool.q.bias", "attn_pool.kv.bias"}, Op::kStack}},
      {"visual.proj", {{"head.weight"}, Op::kTranspose}}};
  if (const TensorRule* rule = find(kTable, ours)) return *rule;
  if (ours.starts_with("visual.attn_pool.")) return same(ours.substr(std::string("visual.").size()));
  auto rule = block_rule(ours, "visual.transformer.resblocks.", "blocks.", kTimmBlock, false);
  if (rule) add_eva_names(ours, *rule);
  return rule;
}

std::optional<TensorRule> open_clip_rule(const std::string& ours) {
  for (const char* kind : {"weight", "bias"})
    if (ours == std::string("text.projection.") + kind)
      return TensorRule{{ours}, Op::kSame, std::string("text_projection.") + kind};
  return same(ours);
}

// The projection is timm's classifier, or a layer of open_clip's behind it.
std::optional<TensorRule> open_clip_timm_rule(const std::string& ours) {
  if (!ours.starts_with("visual.")) return open_clip_rule(ours);
  if (ours == "visual.proj") return TensorRule{{"visual.head.proj.weight"}, Op::kTranspose};
  for (const char* kind : {"weight", "bias"})
    if (ours == std::string("visual.projection.") + kind)
      return TensorRule{
          {std::string("visual.trunk.head.") + kind}, Op::kSame, std::string("visual.head.proj.") + kind};
  auto rule = timm_vit_rule(ours);
  if (!rule) return std::nullopt;
  const auto of_trunk = [](std::string& name) { name.insert(0, "visual.trunk."); };
  std::ranges::for_each(rule->theirs, of_trunk);
  if (!rule->otherwise.empty()) of_trunk(rule->otherwise);
  for (auto& names : rule->alternatives) std::ranges::for_each(names, of_trunk);
  return rule;
}

std::optional<TensorRule> hf_bert_rule(const std::string& ours, const std::string& prefix) {
  for (const char* part : {"text.embeddings.", "text.encoder.", "text.pooler."})
    if (ours.starts_with(part)) return same(prefix + ours.substr(std::string("text.").size()));
  return std::nullopt;
}

std::optional<TensorRule> hf_align_rule(const std::string& ours) {
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
  return hf_bert_rule(ours, "text_model.");
}

// timm counts blocks within stages, and names those of the first stage, which do not expand, otherwise.
std::optional<TensorRule> timm_efficientnet_rule(const std::string& ours,
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

}  // namespace trireme::worker::checkpoint

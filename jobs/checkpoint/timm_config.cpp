// timm's vision towers: by name where open_clip names them, and the config.json of timm's own folders.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "jobs/checkpoint/config_object.h"

namespace trireme::jobs {
namespace {

struct Size {
  const char* name;
  std::int64_t heads;
};
constexpr std::array<Size, 9> kSizes{{{"vit_tiny_patch", 3},
                                      {"vit_small_patch", 6},
                                      {"vit_medium_patch", 8},
                                      {"vit_base_patch", 12},
                                      {"vit_large_patch", 16},
                                      {"vit_huge_patch", 16},
                                      {"vit_so400m_patch", 16},
                                      {"vit_giantopt_patch", 16},
                                      {"vit_gigantic_patch", 16}}};

// "patch16_224" -> what stands between patch and resolution: "", "clip", "siglip", "gap" …; the resolution is
// shown by the positions. DINOv2's towers have none in their name, and are as the others.
std::string flavour_of(const std::string& rest) {
  const std::size_t first = rest.find('_'), last = rest.rfind('_');
  if (first == std::string::npos) return "";
  if (first != last) return rest.substr(first + 1, last - first - 1);
  const std::string tail = rest.substr(first + 1);
  return tail == "dinov2" || tail.find_first_not_of("0123456789") == std::string::npos ? "" : tail;
}

// What EVA's towers and Perception Encoders say by their names alone.
struct Eva {
  const char* name;
  std::int64_t heads;
  bool post_norm;
  const char* rotary;
  std::int64_t offset, reference;  // 0: as many patches as there are
};
constexpr std::array<Eva, 10> kEva{{{"eva_giant_patch14_224", 16, false, "", 0, 0},
                                    {"eva02_base_patch16_clip_224", 12, false, "ij", 0, 16},
                                    {"eva02_large_patch14_clip_224", 16, false, "ij", 0, 16},
                                    {"eva02_large_patch14_clip_336", 16, false, "ij", 0, 16},
                                    {"eva02_enormous_patch14_clip_224", 16, true, "", 0, 0},
                                    {"vit_pe_core_tiny_patch16_384", 3, false, "xy", 1, 24},
                                    {"vit_pe_core_small_patch16_384", 6, false, "xy", 1, 24},
                                    {"vit_pe_core_base_patch16_224", 12, false, "xy", 1, 14},
                                    {"vit_pe_core_large_patch14_336", 16, false, "xy", 1, 24},
                                    {"vit_pe_core_gigantic_patch14_448", 16, false, "xy", 0, 32}}};

// The field of the pooling: open_clip's vision_cfg has another than timm's own config.json.
const char* pooling_in(const std::string& field) {
  return field == "architecture" ? "global_pool" : "timm_pool";
}

void eva_facts(ConfigObject& config, const std::string& field, const Eva& eva, const std::string& pool) {
  const bool perception = std::string(eva.name).starts_with("vit_pe_core");
  config.fact("image/kind", Json("vit"), field);
  config.fact("image/heads", Json(eva.heads), field);
  config.fact("image/layer_norm_epsilon", Json(perception ? 1e-5 : 1e-6), field);
  config.fact("image/quick_gelu", Json(false), field);
  config.fact("image/activation", Json(""), field);
  config.fact("image/post_norm", Json(eva.post_norm), field);
  config.fact("image/rotary", Json(eva.rotary), field);
  if (eva.rotary[0] != 0) {
    config.fact("image/rotary_reference", Json(eva.reference), field);
    config.fact("image/rotary_offset", Json(eva.offset), field);
  }
  if (pool != (perception ? "map" : "token")) return config.refuse(pooling_in(field));
  config.fact("image/pooling", Json(perception ? "attention" : "class"), field);
  if (perception) config.fact("image/pooling_heads", Json(8), field);
}

// Towers whose GELU is the tanh approximation: sizes and resolutions that came with SigLIP 2.
bool has_tanh_gelu(const std::string& name) {
  constexpr std::array<const char*, 5> kNames{"vit_base_patch32_siglip_", "vit_so400m_patch16_siglip_",
                                              "vit_giantopt_patch16_siglip_", "vit_large_patch16_siglip_512",
                                              "vit_large_patch16_siglip_gap_512"};
  return std::ranges::any_of(kNames, [&](const char* one) { return name.starts_with(one); });
}

}  // namespace

void read_timm_name(ConfigObject& config, const std::string& field, const std::string& name,
                    const std::string& pool) {
  for (const Eva& eva : kEva)
    if (name == eva.name) return eva_facts(config, field, eva, pool);
  for (const Size& size : kSizes) {
    const std::string head = size.name;
    if (!name.starts_with(head)) continue;
    const std::string flavour = flavour_of(name.substr(head.size()));
    const bool siglip = flavour == "siglip", clip = flavour == "clip" || flavour == "clip_quickgelu",
               gap = flavour == "gap" || flavour == "siglip_gap";
    if (!flavour.empty() && !siglip && !clip && !gap) break;
    config.fact("image/kind", Json("vit"), field);
    const bool sixteen = name.starts_with("vit_base_patch16_gap_");  // the one whose heads are not its size's
    config.fact("image/heads", Json(sixteen ? std::int64_t{16} : size.heads), field);
    config.fact("image/layer_norm_epsilon", Json(clip ? 1e-5 : 1e-6), field);
    config.fact("image/quick_gelu", Json(flavour == "clip_quickgelu"), field);
    config.fact("image/activation", Json(has_tanh_gelu(name) ? "gelu_tanh" : ""), field);
    config.fact("image/no_class_token", Json(siglip || gap), field);
    const std::string own = siglip ? "map" : gap ? "avg" : "token", used = pool.empty() ? own : pool;
    if (used != "token" && used != "avg" && used != "map") return config.refuse(pooling_in(field));
    if (used == "token" && (siglip || gap))
      return config.refuse(pooling_in(field), "where the tower has no class token");
    config.fact("image/pooling", Json(used == "map" ? "attention" : used == "avg" ? "mean" : "class"), field);
    if (used == "avg") config.fact("image/norm_after_pooling", Json(!gap), field);
    return;
  }
  config.refuse(field, "a tower of timm that is not computed here");
}

std::int64_t timm_patch(const std::string& name) {
  const std::size_t at = name.find("_patch");
  return at == std::string::npos ? 0 : std::atoll(name.c_str() + at + 6);
}

namespace {

// What the file leaves out has the default of timm's PretrainedCfg.
void channels_fact(ConfigObject& config, const char* field, const char* name,
                   std::initializer_list<double> usual) {
  Json three = Json::array();
  for (const double one : usual) three.push(Json(one));
  config.fact(field, channels_of(config, name).value_or(three), name);
}

}  // namespace

void read_timm_preprocess(ConfigObject config, std::int64_t patch_px) {
  channels_fact(config, "image/mean", "mean", {0.485, 0.456, 0.406});
  channels_fact(config, "image/std", "std", {0.229, 0.224, 0.225});
  const std::string filter = config.text("interpolation").value_or("bicubic");
  if (filter != "bicubic" && filter != "bilinear")
    config.refuse("interpolation");
  else
    config.fact("image/interpolation", Json(filter), "interpolation");
  config.fact("image/resampling", Json("pillow"), "interpolation");
  const std::string mode = config.text("crop_mode").value_or("center");
  if (mode != "center" && mode != "squash") config.refuse("crop_mode");
  config.fact("image/resize_mode", Json(mode == "squash" ? "square" : "shortest"), "crop_mode");
  if (mode == "center") config.fact("image/crop_rounding", Json("half_to_even"), "crop_mode");
  const Json* size = config.value("input_size");
  if (size == nullptr || (size->is(Json::Type::kArray) && size->items.size() == 3 &&
                          size->items[1].integer == size->items[2].integer && size->items[1].integer > 0)) {
    const std::int64_t side = size == nullptr ? 224 : size->items[1].integer;
    cut_patch_fact(config, "input_size", side, patch_px);
    const double share = config.real("crop_pct").value_or(0.875);
    if (share <= 0 || share > 1)
      config.refuse("crop_pct");
    else
      config.fact("image/resize_px",
                  Json(static_cast<std::int64_t>(std::floor(static_cast<double>(side) / share))), "crop_pct",
                  side);
  } else {
    config.refuse("input_size", "pictures here are square");
  }
  // Where the file came from, its classifier, and what other resolutions a test would take.
  config.harmless({"crop_pct",
                   "tag",
                   "custom_load",
                   "fixed_input_size",
                   "num_classes",
                   "pool_size",
                   "first_conv",
                   "classifier",
                   "license",
                   "origin_url",
                   "paper_ids",
                   "paper_name",
                   "notes",
                   "hf_hub_id",
                   "hf_hub_filename",
                   "url",
                   "file",
                   "state_dict",
                   "source",
                   "architecture",
                   "test_input_size",
                   "test_crop_pct",
                   "min_input_size",
                   "description",
                   "label_names",
                   "label_descriptions",
                   "hf_hub_revision",
                   "can_export_onnx",
                   "tap_output"});
  config.finish();
}

namespace {

// Of the same shapes: "tf_" are TensorFlow's, the others were trained in PyTorch. False for what is none of
// ours.
bool efficientnet_facts(ConfigObject& config, const std::string& name) {
  const bool google = name.starts_with("tf_");
  std::string rest = name.substr(google ? 3 : 0);
  if (!rest.starts_with("efficientnet_")) return false;
  rest.erase(0, std::string("efficientnet_").size());
  const std::string size = rest.starts_with("lite") ? rest.substr(4)
                           : rest.starts_with("b")  ? rest.substr(1)
                                                    : "";
  const bool number = size.size() == 1 && size[0] >= '0' && size[0] <= '9';
  if (!number && rest != "l2") return false;
  config.fact("image/padding", Json(google ? "same" : "symmetric"), "architecture");
  config.fact("image/batch_norm/epsilon", Json(google ? 1e-3 : 1e-5), "architecture");
  return true;
}

}  // namespace

void read_timm_config(const Json& root, const std::string& file, CheckpointConfig& out) {
  ConfigObject config(root, file, "", "image", out);
  const std::string name = config.text("architecture").value_or("");
  const std::string pool = config.text("global_pool").value_or("");
  if (name.starts_with("vit_"))
    read_timm_name(config, "architecture", name, pool);
  else if (!efficientnet_facts(config, name))
    config.refuse("architecture", "a tower of timm that is not computed here");
  else if (!pool.empty() && pool != "avg")
    config.refuse("global_pool", "where an EfficientNet averages");
  ConfigObject args = config.object("model_args", "image");
  args.harmless({"img_size", "num_classes"});
  args.finish();
  if (config.has("pretrained_cfg"))
    read_timm_preprocess(config.object("pretrained_cfg", "image"), timm_patch(name));
  else
    config.refuse("pretrained_cfg", "without which nobody knows how pictures are prepared");
  config.harmless({"num_classes", "num_features", "global_pool", "label_names", "label_descriptions"});
  config.finish();
}

}  // namespace trireme::jobs

#include "worker/models/weights/checkpoint_config.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <span>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "common/io/folder.h"
#include "jobs/specification/job_spec.h"

namespace trireme::worker::models {
namespace {

using nlohmann::json;

std::optional<std::int64_t> whole(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  return found->get<std::int64_t>();
}

const json& part(const json& object, const char* key) {
  static const json kEmpty = json::object();
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : kEmpty;
}

TowerFacts transformers_facts(const json& config) {
  TowerFacts facts{whole(config, "num_attention_heads"), std::nullopt};
  const auto act = config.find("hidden_act");
  if (act != config.end() && act->is_string() && (*act == "gelu" || *act == "quick_gelu"))
    facts.quick_gelu = *act == "quick_gelu";
  return facts;
}

CheckpointFacts open_clip_facts(const json& config) {
  const json& model = part(config, "model_cfg");
  const json &vision = part(model, "vision_cfg"), &text = part(model, "text_cfg");
  CheckpointFacts facts;
  const auto width = whole(vision, "width");
  if (width) facts.image.heads = *width / std::max<std::int64_t>(1, whole(vision, "head_width").value_or(64));
  facts.text.heads = whole(text, "heads");
  const bool quick = model.contains("quick_gelu") && model["quick_gelu"] == true;
  facts.image.quick_gelu = facts.text.quick_gelu = quick;
  return facts;
}

// A folder that a train stage wrote: its config.json holds the model's specification.
CheckpointFacts own_facts(const json& model) {
  const json &image = part(model, "image"), &text = part(model, "text");
  const auto facts = [](const json& tower, bool quick) {
    TowerFacts of{whole(tower, "heads"), std::nullopt};
    const auto gelu = tower.find("quick_gelu");
    if (quick && gelu != tower.end() && gelu->is_boolean()) of.quick_gelu = gelu->get<bool>();
    return of;
  };
  CheckpointFacts both;
  if (image.value("kind", json()) == "vit") both.image = facts(image, true);
  both.text = facts(text, text.value("kind", json()) == "transformer");
  return both;
}

void compare(const char* tower, const TowerFacts& facts, std::int64_t heads, std::optional<bool> quick,
             WeightFaults& faults) {
  if (facts.heads && *facts.heads != heads)
    faults.add(std::string("config: the ") + tower + " tower has " + std::to_string(*facts.heads) +
               " attention heads, the model " + std::to_string(heads));
  if (quick && facts.quick_gelu && *facts.quick_gelu != *quick)
    faults.add(std::string("config: the ") + tower + " tower was trained with " +
               (*facts.quick_gelu ? "QuickGELU" : "the exact GELU") + "; set quick_gelu to " +
               (*facts.quick_gelu ? "true" : "false"));
}

struct Beside {
  CheckpointFacts facts;
  json own;  // the whole config.json of a folder that a train stage wrote, null for any other
};

Beside read_beside(const io::Path& file, WeightFaults& faults) {
  const auto folder = file.parent_path();
  for (const char* name : {"open_clip_config.json", "config.json"}) {
    const auto path = folder / name;
    if (!io::is_file(path)) continue;
    const json config = json::parse(io::read_file(path, 16 << 20), nullptr, false);
    if (!config.is_object()) {
      faults.add("config: " + path.string() + " is not a JSON object");
      return {};
    }
    if (config.contains("model_cfg")) return {open_clip_facts(config), {}};
    if (config.contains("model") && config.contains("provenance"))
      return {own_facts(part(config, "model")), config["model"].is_object() ? config : json()};
    if (config.contains("vision_config") || config.contains("text_config"))
      return {{transformers_facts(part(config, "vision_config")),
               transformers_facts(part(config, "text_config"))},
              {}};
    if (config.contains("num_attention_heads")) return {{{}, transformers_facts(config)}, {}};  // a BertModel
  }
  return {};
}

Beside all_beside(const std::string& file, const std::map<std::string, std::string>& metadata,
                  WeightFaults& faults) {
  Beside beside = read_beside(file, faults);
  const auto heads = metadata.find("num_attention_heads");
  if (heads != metadata.end()) beside.facts.text.heads = std::atoll(heads->second.c_str());
  return beside;
}

const char* const kImageFields[] = {"mean",    "std",    "resize_mode",       "interpolation",
                                    "padding", "ln_pre", "layer_norm_epsilon"};
const char* const kTokenizerFields[] = {
    "kind",          "lower_case",     "strip_accents", "split_ideographs",
    "unescape_html", "collapse_space", "repair_text"};

void compare_fields(const std::string& at, const json& theirs, const json& ours,
                    std::span<const char* const> fields, WeightFaults& faults) {
  for (const char* field : fields)
    if (theirs.contains(field) && ours.contains(field) && theirs[field] != ours[field])
      faults.add("config: " + at + "." + field + " is " + theirs[field].dump() + ", the model has " +
                 ours[field].dump());
}

// What a tower of ours was trained with and no tensor shows. A model of another resolution may resize
// otherwise.
void compare_with_own(const json& theirs, const jobs::ModelSpec& spec, WeightPart which,
                      WeightFaults& faults) {
  const json ours = json::parse(jobs::model_json(spec));
  const json &image = part(theirs, "image"), &text = part(theirs, "text");
  if ((which == WeightPart::kImage || which == WeightPart::kBoth) &&
      image.value("kind", json()) == spec.image.kind) {
    compare_fields("image", image, ours["image"], kImageFields, faults);
    if (image.value("image_px", json()) == spec.image.image_px) {
      const char* const resize[] = {"resize_px"};
      compare_fields("image", image, ours["image"], resize, faults);
    }
  }
  if ((which != WeightPart::kText && which != WeightPart::kBoth) ||
      text.value("kind", json()) != spec.text.kind)
    return;
  const char* const pooling[] = {"pooling"};
  if (spec.text.kind == "bert") compare_fields("text", text, ours["text"], pooling, faults);
  compare_fields("text.tokenizer", part(text, "tokenizer"), ours["text"]["tokenizer"], kTokenizerFields,
                 faults);
}

}  // namespace

std::optional<jobs::ModelSpec> own_spec_beside(const std::string& file) {
  WeightFaults ignored(file);
  const json config = read_beside(file, ignored).own;
  if (config.is_null()) return std::nullopt;
  jobs::ModelSpec spec = jobs::model_from_json(config["model"].dump());
  spec.init_from = spec.image.weights = spec.text.weights = "";
  spec.freeze.clear();
  spec.image.frozen = spec.text.frozen = false;
  const std::string vocabulary = config.value("vocabulary", "");
  if (!vocabulary.empty())
    spec.text.tokenizer.vocabulary = (io::Path(file).parent_path() / vocabulary).string();
  return spec;
}

CheckpointFacts config_beside(const std::string& file, const std::map<std::string, std::string>& metadata) {
  WeightFaults ignored(file);
  return all_beside(file, metadata, ignored).facts;
}

void check_config_beside(const std::string& file, const std::map<std::string, std::string>& metadata,
                         const jobs::ModelSpec& spec, WeightPart part, WeightFaults& faults) {
  const auto [facts, own] = all_beside(file, metadata, faults);
  if (!own.is_null()) compare_with_own(own["model"], spec, part, faults);
  const bool vit = spec.image.kind == "vit", transformer = spec.text.kind == "transformer";
  if (vit && (part == WeightPart::kImage || part == WeightPart::kBoth))
    compare("image", facts.image, spec.image.heads, spec.image.quick_gelu, faults);
  if (part == WeightPart::kText || part == WeightPart::kBoth)
    compare("text", facts.text, spec.text.heads,
            transformer ? std::optional<bool>(spec.text.quick_gelu) : std::nullopt, faults);
}

}  // namespace trireme::worker::models

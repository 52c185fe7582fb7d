#include "jobs/checkpoint/checkpoint_config.h"

#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "jobs/checkpoint/config_object.h"
#include "jobs/specification/job_spec.h"
#include "jobs/specification/json/field_reader.h"
#include "jobs/specification/model_defaults.h"

namespace trireme::jobs {
namespace {

constexpr std::size_t kMostBytes = std::size_t{16} << 20;

// Big integers and NaN stand in fields that nobody reads (a tokenizer's model_max_length).
Json read_json(const io::Path& path) {
  std::vector<SpecFault> faults;
  Json root = parse_json(io::read_file(path, kMostBytes), faults, {.bytes = kMostBytes, .depth = 64});
  for (const SpecFault& fault : faults)
    if (fault.code != "out_of_range" && fault.code != "number")
      throw Error(ErrorKind::kDamaged,
                  path.string() + " is damaged: " + printable(fault.pointer, 100) + " " +
                      printable(fault.detail, 200),
                  "copy or download the file again");
  if (!root.is(Json::Type::kObject))
    throw Error(ErrorKind::kDamaged, path.string() + " is " + describe_json(root) + ", not a JSON object",
                "copy or download the file again");
  return root;
}

void read_config_json(const io::Path& path, CheckpointConfig& out) {
  const Json root = read_json(path);
  const std::string file = path.string();
  if (root.find("provenance") != nullptr || root.find("vocabulary") != nullptr ||
      root.find("format") != nullptr)
    return read_own_config(root, file, out);
  if (root.find("model_cfg") != nullptr) return read_open_clip_config(root, file, out);
  if (root.find("architecture") != nullptr) return read_timm_config(root, file, out);
  if (root.find("model_type") != nullptr) return read_transformers_config(root, file, out);
  out.refusals.push_back(
      {"", file + ": it has none of model_cfg (open_clip), model_type (transformers), architecture "
                  "(timm) and provenance (Trireme), so that nobody knows what it describes"});
}

bool is_nothing(const Json* value) {
  return value == nullptr || value->is(Json::Type::kNull) ||
         (value->is(Json::Type::kBool) && !value->boolean) ||
         (value->is(Json::Type::kString) && value->text.empty()) ||
         (value->is(Json::Type::kArray) && value->items.empty());
}

// What a field means that says nothing, where that is something.
Json meaning_of_nothing(const std::string& field) {
  if (field == "image/pooling") return Json("class");
  if (field == "image/crop_rounding") return Json("half_to_even");
  if (field == "image/resampling") return Json("torch");
  if (field == "text/readout") return Json("end");
  if (field == "text/layer_norm_epsilon") return Json(1e-5);
  if (field == "text/tokenizer/marks") return Json("t5");
  if (field == "image/fill_level" || field == "image/rotary_offset") return Json(0);
  return {};
}

bool equal(const Json& a, const Json& b);

// A field that is not written, null or empty: nobody has said anything.
bool is_open(const Json* value) {
  return is_nothing(value) && (value == nullptr || !value->is(Json::Type::kBool));
}

// Whether a field that says nothing means this anyway.
bool is_usual(const ConfigFact& fact) {
  return is_nothing(&fact.value) || equal(fact.value, meaning_of_nothing(fact.field));
}

bool equal(const Json& a, const Json& b) {
  if (a.is(Json::Type::kArray) && b.is(Json::Type::kArray)) {
    if (a.items.size() != b.items.size()) return false;
    for (std::size_t i = 0; i < a.items.size(); ++i)
      if (!equal(a.items[i], b.items[i])) return false;
    return true;
  }
  const auto number = [](const Json& v) { return v.is(Json::Type::kInteger) || v.is(Json::Type::kNumber); };
  if (number(a) && number(b)) return std::abs(a.number - b.number) <= 1e-9 * std::abs(a.number);
  return a.type == b.type && a.text == b.text && a.boolean == b.boolean;
}

Json* at(Json& tree, const std::string& field) {
  Json* here = &tree;
  for (std::size_t from = 0; here != nullptr && from <= field.size();) {
    const std::size_t slash = std::min(field.find('/', from), field.size());
    here = here->find(field.substr(from, slash - from));
    from = slash + 1;
  }
  return here;
}

void put(Json& tree, const std::string& field, const Json& value) {
  const std::size_t slash = field.rfind('/');
  at(tree, field.substr(0, slash))->set(field.substr(slash + 1), value);
}

bool concerns(const std::string& field, bool image, bool text) {
  return (image && field.starts_with("image")) || (text && field.starts_with("text"));
}

Json tree_of(const ModelSpec& model) {
  std::vector<SpecFault> faults;
  return parse_json(model_json(model), faults);
}

// AlignProcessor pads and cuts at 64 tokens, or at the max_length that its tokenizer carries.
void bound_align(const Json& config, const io::Path& whole, const io::Path& words, CheckpointConfig& out) {
  const Json tokenizer = io::is_file(words) ? read_json(words) : Json();
  const Json *length = tokenizer.find("max_length"), *text = config.find("text_config");
  const bool given = length != nullptr && length->is(Json::Type::kInteger) && length->integer > 1;
  const Json* const positions = text == nullptr ? nullptr : text->find("max_position_embeddings");
  const bool said = positions != nullptr && positions->is(Json::Type::kInteger);
  const std::int64_t most = said ? positions->integer : 512;
  out.facts.push_back({"text/context", Json(std::min(given ? length->integer : 64, most)),
                       given ? words.string() + ": max_length" : whole.string() + ": model_type"});
}

// SigLIP reads the last position, and its tokenizer pads to its own length: fewer is another model's reading.
void bound_siglip(const Json& config, const io::Path& words, CheckpointConfig& out) {
  if (!io::is_file(words)) return;
  const Json* text = config.find("text_config");
  const Json* const positions = (text == nullptr ? config : *text).find("max_position_embeddings");
  const bool said = positions != nullptr && positions->is(Json::Type::kInteger);
  const std::int64_t most = said ? positions->integer : 64;
  const Json tokenizer = read_json(words);
  const Json* const length = tokenizer.find("model_max_length");
  if (length != nullptr && length->is(Json::Type::kInteger) && length->integer > 1 && length->integer < most)
    out.refusals.push_back(
        {"text", words.string() + ": model_max_length is " + dump_json(*length) +
                     ", to which captions would be padded, and the tower reads the last of " +
                     std::to_string(most) + " positions"});
}

// Where captions are cut, if that is before the last position: transformers' CLIP at its tokenizer's length,
// sentence-transformers' BERT at its own, or at the tokenizer's where it says nothing.
void bound_context(const io::Path& folder, CheckpointConfig& out) {
  const io::Path words = folder / "tokenizer_config.json", whole = folder / "config.json",
                 sentences = folder / "sentence_bert_config.json";
  if (!io::is_file(whole)) return;
  const Json config = read_json(whole);
  const Json *type = config.find("model_type"), *text = config.find("text_config");
  const bool bert = type != nullptr && (type->text == "bert" || type->text == "align_text_model");
  if (type != nullptr && type->text == "align") return bound_align(config, whole, words, out);
  if (type != nullptr && (type->text == "siglip" || type->text == "siglip_text_model"))
    return bound_siglip(config, words, out);
  if (type == nullptr || (!bert && !type->text.starts_with("clip"))) return;
  const Json* const positions = (text == nullptr ? config : *text).find("max_position_embeddings");
  const bool said = positions != nullptr && positions->is(Json::Type::kInteger);
  const std::int64_t most = said ? positions->integer : bert ? 512 : 77;
  const auto length_in = [&](const io::Path& file, const char* field) {
    if (!io::is_file(file)) return false;
    const Json root = read_json(file);
    const Json* const length = root.find(field);
    const bool cuts = length != nullptr && length->is(Json::Type::kInteger) && length->integer > 1 &&
                      length->integer < most;
    if (cuts) out.facts.push_back({"text/context", *length, file.string() + ": " + field});
    return cuts;
  };
  if (bert && (length_in(sentences, "max_seq_length") || length_in(words, "model_max_length"))) return;
  if (bert && said)
    out.facts.push_back({"text/context", Json(most), whole.string() + ": max_position_embeddings"});
  if (!bert) length_in(words, "model_max_length");
}

// sentence-transformers': what stands behind the tower, and before its tokenizer.
void read_sentence_modules(const io::Path& folder, CheckpointConfig& out) {
  const io::Path path = folder / "modules.json";
  if (!io::is_file(path)) return;
  std::vector<SpecFault> faults;
  const Json root = parse_json(io::read_file(path, kMostBytes), faults, {.bytes = kMostBytes, .depth = 64});
  for (const Json& module : root.items) {
    const Json *type = module.find("type"), *place = module.find("path");
    const std::string name = type == nullptr ? "" : type->text;
    const bool pools = name.ends_with(".Pooling");
    if (!pools && !name.ends_with(".Transformer") && !name.ends_with(".Normalize"))
      out.refusals.push_back({"text", path.string() + ": it has a module " + printable(name, 100) +
                                          ", which no tower here computes"});
    else if (pools && (place == nullptr || place->text != "1_Pooling"))
      out.refusals.push_back({"text", path.string() + ": its pooling is not in 1_Pooling"});
  }
}

// A field of another kind of tower says nothing about this one.
bool applies(const ConfigFact& fact, const ModelSpec& model) {
  if (fact.image_px && *fact.image_px != model.image.image_px) return false;
  if (fact.field == "text/tokenizer/cleaning" || fact.field.ends_with("/kind")) return true;
  const std::string& field = fact.field;
  if (field == "image/padding" || field.starts_with("image/batch_norm")) return is_efficientnet(model.image);
  if (field == "text/pooling") return model.text.kind == TextTowerKind::kBert;
  return true;
}

// Values that no model here has, by the files and fields that say so.
std::string said_wrongly(const CheckpointConfig& config, const std::vector<SpecFault>& faults, bool shapes) {
  std::string text;
  for (const SpecFault& fault : faults) {
    std::string field = fault.pointer.substr(1), said = shapes ? "the shapes of the tensors mean " : "";
    for (const ConfigFact& fact : config.facts)
      if (field.starts_with(fact.field) &&
          (field.size() == fact.field.size() || field[fact.field.size()] == '/'))
        said = fact.said + " means ";
    std::ranges::replace(field, '/', '.');
    text.append(text.empty() ? "" : "; ").append(said).append(field).append(": ").append(fault.detail);
  }
  return text;
}

}  // namespace

CheckpointConfig read_checkpoint_config(const std::string& weights_file) {
  CheckpointConfig out;
  const io::Path folder = io::Path(weights_file).parent_path();
  const auto there = [&](const char* name) { return io::is_file(folder / name); };
  check_own_manifest(folder);
  using Reader = void (*)(const Json&, const std::string&, CheckpointConfig&);
  const auto read = [&](const char* name, Reader reader) {
    if (there(name)) reader(read_json(folder / name), (folder / name).string(), out);
  };
  if (there("open_clip_config.json")) {  // of a folder for both, open_clip's says all
    read("open_clip_config.json", read_open_clip_config);
  } else {
    if (there("config.json"))
      read_config_json(folder / "config.json", out);
    else
      read_step_manifest(folder, out);
    if (out.own) return out;
    const std::size_t before = out.facts.size() + out.refusals.size();
    read("processor_config.json", read_processor_config);
    if (out.facts.size() + out.refusals.size() == before)
      read("preprocessor_config.json", read_preprocessor_config);
    read("tokenizer_config.json", read_tokenizer_config);
    read("1_Pooling/config.json", read_pooling_config);
    read_sentence_modules(folder, out);
    read("sentence_bert_config.json", read_sentence_config);
    read("config_sentence_transformers.json", read_sentence_config);
    bound_context(folder, out);
  }
  if (out.exported) read_exported_model(*out.exported, (folder / "trireme_model").string(), out);
  return out;
}

void adopt_config(ModelSpec& model, const CheckpointConfig& config, bool image, bool text, bool stated_too) {
  Json tree = tree_of(model);
  for (const ConfigFact& fact : config.facts) {
    const bool only_there = !stated_too || fact.field == "image/image_px";
    if (!concerns(fact.field, image, text) || (only_there && !applies(fact, model))) continue;
    const Json* ours = at(tree, fact.field);
    if (!stated_too && !is_open(ours)) continue;
    // What holds for pictures of one size: of the size that the tree has by now.
    if (stated_too && !only_there && fact.image_px && *fact.image_px != at(tree, "image/image_px")->integer)
      continue;
    if (is_open(&fact.value) || (is_open(ours) && is_usual(fact))) continue;
    put(tree, fact.field, fact.value);
  }
  std::vector<SpecFault> faults;
  ModelSpec adopted;
  reading::read({tree, "", faults}, adopted, {});
  if (!faults.empty())
    throw Error(ErrorKind::kDamaged, said_wrongly(config, faults, stated_too), "correct the file");
  model = std::move(adopted);
}

void adopt_configs(ModelSpec& model) {
  const auto adopt = [&](const std::string& weights, bool image, bool text) {
    if (weights.empty() || weights.starts_with("pretrained:") || weights.starts_with("stage:")) return;
    const io::Path file =
        io::is_folder(weights) ? io::Path(weights) / "model.safetensors" : io::Path(weights);
    if (io::exists(file.parent_path()))
      adopt_config(model, read_checkpoint_config(file.string()), image, text);
  };
  adopt(model.image.weights, true, false);
  adopt(model.text.weights, false, true);
  adopt(model.init_from, model.image.weights.empty(), model.text.weights.empty());
}

std::vector<std::string> contradictions(const ModelSpec& model, const CheckpointConfig& config, bool image,
                                        bool text) {
  ModelSpec resolved = model;
  resolve_model_defaults(resolved);
  Json tree = tree_of(resolved);
  std::vector<std::string> found;
  for (const ConfigRefusal& refusal : config.refusals)
    if (refusal.tower.empty() || (image && refusal.tower == "image") || (text && refusal.tower == "text"))
      found.push_back(refusal.what);
  for (const ConfigFact& fact : config.facts) {
    if (!concerns(fact.field, image, text) || !applies(fact, resolved)) continue;
    const Json* value = at(tree, fact.field);
    const Json ours = is_open(value) ? meaning_of_nothing(fact.field) : *value;
    const Json theirs = is_open(&fact.value) ? meaning_of_nothing(fact.field) : fact.value;
    if ((is_nothing(&ours) && is_nothing(&theirs)) || equal(ours, theirs)) continue;
    // A BERT that reads less than it could: its captions are cut, and counted.
    if (fact.field == "text/context" && resolved.text.kind == TextTowerKind::kBert &&
        ours.number < theirs.number)
      continue;
    std::string name = fact.field;
    std::ranges::replace(name, '/', '.');
    found.push_back(fact.said + " means " + name + " = " + dump_json(theirs) + ", the model has " +
                    dump_json(ours));
  }
  return found;
}

void settle_models(JobSpec& job) {
  for (auto& [name, model] : job.spec.models) {
    adopt_configs(model);
    resolve_model_defaults(model);
  }
}

}  // namespace trireme::jobs

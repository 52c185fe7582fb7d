// The config.json of a folder that a train stage wrote: its model is the whole truth about its weights.
#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/checkpoint/config_object.h"
#include "jobs/specification/job_spec.h"
#include "jobs/specification/model_defaults.h"

namespace trireme::jobs {
namespace {

void facts_of(const Json& tree, const std::string& tower, std::initializer_list<const char*> fields,
              const std::string& file, CheckpointConfig& out, std::optional<std::int64_t> image_px = {}) {
  for (const char* field : fields) {
    const Json* here = &tree;
    std::string name = field;
    if (const std::size_t slash = name.find('/'); slash != std::string::npos) {
      here = tree.find(name.substr(0, slash));
      name = name.substr(slash + 1);
    }
    const Json* value = here == nullptr ? nullptr : here->find(name);
    out.facts.push_back({std::string(tower).append("/").append(field), value == nullptr ? Json() : *value,
                         std::string(file).append(": model.").append(tower).append(".").append(field),
                         image_px});
  }
}

constexpr std::initializer_list<const char*> kTokenizer{
    "tokenizer/kind",          "tokenizer/lower_case",
    "tokenizer/strip_accents", "tokenizer/split_ideographs",
    "tokenizer/unescape_html", "tokenizer/collapse_space",
    "tokenizer/repair_text",   "tokenizer/cleaning",
    "tokenizer/strip_end",     "tokenizer/marks"};

ModelSpec model_of(const Json& model, const std::string& file) {
  ModelSpec spec;
  try {
    spec = model_from_json(dump_json(model));
  } catch (const Error& error) {
    throw Error(ErrorKind::kDamaged, file + ": it holds no model: " + error.what(),
                "copy the folder that was written again");
  }
  resolve_model_defaults(spec);
  return spec;
}

Json tree_of(const ModelSpec& spec) {
  std::vector<SpecFault> faults;
  return parse_json(model_json(spec), faults);
}

constexpr std::uint64_t kMostHashed = std::uint64_t{16} << 20;

// A member of objects within objects; nullptr where one is missing.
const Json* at(const Json* here, std::initializer_list<const char*> names) {
  for (const char* name : names) here = here == nullptr ? nullptr : here->find(name);
  return here;
}

const Json* named(const Json* list, const std::string& name) {
  if (list == nullptr || !list->is(Json::Type::kArray)) return nullptr;
  for (const Json& one : list->items)
    if (const Json* own = one.find("name"); own != nullptr && own->text == name) return &one;
  return nullptr;
}

// The file that a vocabulary stage of the run has left.
std::string vocabulary_of_stage(const std::string& stage, const io::Path& step) {
  const io::Path output = step.parent_path().parent_path().parent_path();  // of <output>/ckpt/<stage>/<step>
  const io::Path list = output / "stages" / stage / "outputs.jsonl";
  std::string found;
  if (io::is_file(list)) {
    io::LineReader lines(list);
    for (std::string line; lines.next(line);) {
      std::vector<SpecFault> faults;
      const Json root = parse_json(line, faults);
      const Json* outputs = root.find("outputs");
      for (const Json& file : outputs == nullptr ? std::vector<Json>{} : outputs->items)
        if (const Json* path = file.find("path"); path != nullptr && path->text.ends_with(".vocab.txt"))
          found = path->text;
    }
  }
  if (!found.empty() && io::is_file(found)) return found;
  throw Error(ErrorKind::kNotFound,
              step.string() + " has the vocabulary of its job's stage '" + stage + "', and " +
                  (found.empty() ? list.string() + " names none" : found + " is not there"),
              "leave the step in its run, or state the model in a job, with its vocabulary and this "
              "folder's model.safetensors moved out of it as init_from");
}

[[noreturn]] void not_as_listed(const io::Path& file, const std::string& how) {
  throw Error(ErrorKind::kDamaged, file.string() + " " + how + " manifest.json beside it says",
              "copy the folder that was written again");
}

}  // namespace

void check_own_manifest(const io::Path& folder) {
  const io::Path path = folder / "manifest.json";
  if (!io::is_file(path)) return;
  std::vector<SpecFault> faults;
  const Json root = parse_json(io::read_file(path, kMostHashed), faults, {.bytes = kMostHashed, .depth = 64});
  const Json *format = root.find("format"), *files = root.find("files");
  const bool ours =
      format != nullptr && (format->text == "trireme-model-folder" || format->text == "trireme-checkpoint");
  if (!ours && faults.empty()) return;
  if (!faults.empty() || files == nullptr || !files->is(Json::Type::kArray))
    throw Error(ErrorKind::kDamaged, path.string() + " is damaged", "copy the folder that was written again");
  for (const Json& one : files->items) {
    const Json *name = one.find("name"), *bytes = one.find("bytes"), *hash = one.find("xxh3");
    if (name == nullptr || bytes == nullptr || hash == nullptr) continue;
    const io::Path file = folder / io::Path(name->text).filename();
    if (!io::is_file(file)) not_as_listed(file, "is missing, which");
    const std::uint64_t size = io::size_of(file);
    if (!bytes->is(Json::Type::kInteger) || size != static_cast<std::uint64_t>(bytes->integer))
      not_as_listed(file, "has another length than");
    if (size <= kMostHashed && io::hex(io::xxh3_of_file(file)) != hash->text)
      not_as_listed(file, "has other bytes than");
  }
}

void read_step_manifest(const io::Path& folder, CheckpointConfig& out) {
  const io::Path path = folder / "manifest.json";
  if (!io::is_file(path)) return;
  std::vector<SpecFault> faults;
  const Json root = parse_json(io::read_file(path, kMostHashed), faults, {.bytes = kMostHashed, .depth = 64});
  const Json *format = root.find("format"), *stage = root.find("stage");
  if (format == nullptr || format->text != "trireme-checkpoint") return;
  const Json* trained = named(at(&root, {"spec", "spec", "stages"}), stage == nullptr ? "" : stage->text);
  const Json* name = trained == nullptr ? nullptr : trained->find("model");
  const Json* model = name == nullptr ? nullptr : at(&root, {"spec", "spec", "models", name->text.c_str()});
  if (model == nullptr) {
    out.refusals.push_back({"", path.string() + ": it keeps no job, so that nobody knows the model"});
    return;
  }
  Json own = Json::object();
  own.set("format", 1).set("model", *model).set("vocabulary", "").set("provenance", Json::object());
  Json* text = own.find("model")->find("text");
  Json* tokenizer = text == nullptr ? nullptr : text->find("tokenizer");
  Json* vocabulary = tokenizer == nullptr ? nullptr : tokenizer->find("vocabulary");
  if (vocabulary != nullptr)
    if (const std::string made_by = named_stage(vocabulary->text); !made_by.empty())
      vocabulary->text = vocabulary_of_stage(made_by, folder);
  read_own_config(own, path.string(), out);
}

void read_exported_model(const Json& model, const std::string& file, CheckpointConfig& out) {
  std::erase_if(out.facts, [](const ConfigFact& fact) {
    return fact.field.starts_with("text/tokenizer/") || fact.field == "image/crop_rounding" ||
           fact.field == "image/resampling";
  });
  const ModelSpec spec = model_of(model, file);
  const Json tree = tree_of(spec);
  facts_of(*tree.find("text"), "text", kTokenizer, file, out);
  if (spec.text.kind == TextTowerKind::kBert) {  // of which no tensor shows where it is cut
    std::erase_if(out.facts, [](const ConfigFact& fact) { return fact.field == "text/context"; });
    facts_of(*tree.find("text"), "text", {"context"}, file, out);
  }
  facts_of(*tree.find("image"), "image", {"crop_rounding", "resampling"}, file, out);
}

void read_own_config(const Json& root, const std::string& file, CheckpointConfig& out) {
  const Json *model = root.find("model"), *format = root.find("format"),
             *vocabulary = root.find("vocabulary");
  if (model == nullptr || !model->is(Json::Type::kObject) || format == nullptr || vocabulary == nullptr ||
      !vocabulary->is(Json::Type::kString) || root.find("provenance") == nullptr)
    throw Error(ErrorKind::kDamaged,
                file +
                    " is not the config.json of a Trireme model: it needs format, model, "
                    "vocabulary and provenance",
                "name the folder that a train stage has written");
  if (!format->is(Json::Type::kInteger) || format->integer != 1)
    throw Error(ErrorKind::kInvalid, file + " has format " + dump_json(*format) + ", this program reads 1",
                "use the version of Trireme that wrote it");
  const ModelSpec spec = model_of(*model, file);
  const Json tree = tree_of(spec);
  const Json &image = *tree.find("image"), &text = *tree.find("text");
  facts_of(
      image, "image",
      {"kind", "mean", "std", "resize_mode", "interpolation", "fill_level", "crop_rounding", "resampling"},
      file, out);
  facts_of(image, "image", {"resize_px"}, file, out, spec.image.image_px);
  if (spec.image.kind == ImageTowerKind::kVit)
    facts_of(
        image, "image",
        {"heads", "quick_gelu", "ln_pre", "layer_norm_epsilon", "activation", "pooling", "norm_after_pooling",
         "layer_scale", "no_class_token", "pooling_heads", "pooling_width", "post_norm", "gated_mlp",
         "attention_norm", "mlp_norm", "rotary", "rotary_offset", "rotary_reference"},
        file, out);
  else
    facts_of(image, "image", {"padding", "batch_norm/epsilon"}, file, out);
  facts_of(text, "text", {"kind", "heads"}, file, out);
  if (spec.text.kind == TextTowerKind::kBert) facts_of(text, "text", {"pooling"}, file, out);
  if (spec.text.kind == TextTowerKind::kTransformer)
    facts_of(text, "text",
             {"quick_gelu", "readout", "end_token", "bidirectional", "layer_scale", "activation",
              "layer_norm_epsilon"},
             file, out);
  if (spec.text.readout == TextReadout::kClass || spec.text.readout == TextReadout::kLast ||
      spec.text.bidirectional)
    facts_of(text, "text", {"context"}, file, out);
  facts_of(text, "text", kTokenizer, file, out);
  out.own = root;
}

}  // namespace trireme::jobs

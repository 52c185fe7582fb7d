#include "coordinator/planner/address.h"

#include <algorithm>

#include "jobs/specification/json/added_fields.h"

namespace trireme::coordinator::planner {
namespace {

constexpr std::size_t kFoldBytes = 1 << 20;

void put_hash(jobs::Json& object, const std::string& key, const std::map<std::string, std::uint64_t>& files) {
  jobs::Json* path = object.find(key);
  if (path == nullptr || path->text.empty()) return;
  const auto found = files.find(key + " " + path->text);
  if (found != files.end()) path->text = "xxh3:" + io::hex(found->second);
}

// A checkpoint stands by its hash, a train stage by the artifact that the address holds beside this.
void put_start(jobs::Json& object, const std::string& key, const std::string& what,
               const std::map<std::string, std::uint64_t>& files) {
  jobs::Json* path = object.find(key);
  if (path == nullptr || path->text.empty()) return;
  const auto found = files.find(what + " " + path->text);
  if (!jobs::named_stage(path->text).empty())
    path->text = "stage";
  else if (found != files.end())
    path->text = "xxh3:" + io::hex(found->second);
}

}  // namespace

void AddressText::add(std::string_view what, std::string_view value) {
  text_ += what;
  text_ += ' ';
  text_ += value;
  text_ += '\n';
  if (text_.size() > kFoldBytes) text_ = io::hex(io::xxh3_128(text_)) + "\n";
}

io::Hash128 AddressText::finish() {
  return io::xxh3_128(text_);
}

std::string address_part(const jobs::StageSettings& settings) {
  jobs::Json tree = std::visit([](const auto& one) { return jobs::AddedFields::tree_of(one); }, settings);
  for (const char* name : {"data", "train_data", "validation_data", "model"}) tree.erase(name);
  if (jobs::Json* every = tree.find("evaluate_every")) every->erase("data");
  if (std::holds_alternative<jobs::FilterSettings>(settings)) {  // files stand by their hashes
    for (const char* path : {"keep_list", "drop_list"})
      if (jobs::Json* list = tree.find(path)) list->text = list->text.empty() ? "" : "file";
    if (jobs::Json* like = tree.find("random_like")) like->text = like->text.empty() ? "" : "stage";
    if (jobs::Json* columns = tree.find("columns"))
      for (jobs::Json& rule : columns->items)
        if (jobs::Json* folder = rule.find("sidecar")) folder->text = folder->text.empty() ? "" : "scores";
  }
  // Stages and files that give concepts and captions stand by what they made.
  const auto stand_by = [](jobs::Json* value) {
    if (value == nullptr || value->text.empty()) return;
    if (!jobs::named_stage(value->text).empty())
      value->text = "stage";
    else if (value->text.find('/') != std::string::npos)
      value->text = "file";
  };
  if (std::holds_alternative<jobs::ConceptsSettings>(settings)) {
    stand_by(tree.find("teacher"));
    stand_by(tree.find("vocabulary"));
  }
  if (std::holds_alternative<jobs::EvaluateSettings>(settings)) {
    stand_by(tree.find("captions"));
    stand_by(tree.find("answers"));
    stand_by(tree.find("prompts"));
    if (jobs::Json* ratings = tree.find("ratings"))
      for (jobs::Json& file : ratings->items) file.text = "file";
  }
  if (std::holds_alternative<jobs::TrainSettings>(settings)) {
    stand_by(tree.find("synthetic_caption"));
    if (jobs::Json* head = tree.find("classification"); head != nullptr) stand_by(head->find("probe"));
    for (jobs::Json& head : tree.find("concepts")->find("heads")->items) {
      stand_by(head.find("from"));
      stand_by(head.find("vocabulary_from"));
    }
  }
  tree.erase("memory_mib");
  return jobs::dump_json(tree);
}

std::string address_part(const jobs::ModelSpec& model, const std::map<std::string, std::uint64_t>& files) {
  jobs::Json tree = jobs::AddedFields::tree_of(model);
  put_start(tree, "init_from", "init_from", files);
  if (jobs::Json* blend = tree.find("blend"); blend != nullptr && blend->is(jobs::Json::Type::kObject))
    put_start(*blend, "with", "blend", files);
  put_hash(*tree.find("image"), "weights", files);
  put_hash(*tree.find("text"), "weights", files);
  put_hash(*tree.find("text")->find("tokenizer"), "vocabulary", files);
  return jobs::dump_json(tree);
}

std::string address_part(const jobs::DataSpec& data, std::uint64_t labels) {
  jobs::Json classes = jobs::Json::array(), templates = jobs::Json::array();
  for (const auto& name : data.classes) classes.push(jobs::Json(name));
  for (const auto& text : data.caption_templates) templates.push(jobs::Json(text));
  return jobs::dump_json(jobs::Json::object()
                             .set("classes", classes)
                             .set("templates", templates)
                             .set("labels", io::hex(labels)));
}

std::string address_part(const jobs::SyntheticSpec& synthetic) {
  return jobs::dump_json(jobs::AddedFields::tree_of(synthetic));
}

std::string address_part(const jobs::SourceSpec& source, jobs::DataFormat format) {
  jobs::Json part = jobs::Json::object().set("format", name_of(format));
  if (format == jobs::DataFormat::kTable)
    part.set("image", source.image_column).set("caption", source.caption_column);
  const auto set = [&](const char* name,
                       std::string_view value) {  // jobs that set none keep their addresses
    if (!value.empty() && value != "auto") part.set(name, value);
  };
  set("key", name_of(source.key));
  set("image_member", source.image_member);
  set("text_member", source.text_member);
  set("caption_field", source.caption_field);
  set("separator", source.separator);
  if (source.captions == jobs::CaptionForm::kNone ||
      (source.captions == jobs::CaptionForm::kLines && format == jobs::DataFormat::kFiles))
    set("captions", name_of(source.captions));
  if (source.exif_orientation) set("exif_orientation", "true");
  if (source.icc_to_srgb) set("icc_to_srgb", "true");
  if (!source.parquet.empty()) set("parquet", "joined");
  return jobs::dump_json(part);
}

}  // namespace trireme::coordinator::planner

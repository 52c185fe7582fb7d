#include <filesystem>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "jobs/specification/job_spec.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/models/dual_encoder.h"
#include "worker/models/weights/dual_encoder_state.h"

namespace trireme::worker::models {
namespace {

constexpr int kFormat = 1;

std::string vocabulary_name(const std::string& path) {
  if (path.empty()) return "";
  const bool packed = path.size() > 3 && path.compare(path.size() - 3, 3, ".gz") == 0;
  return packed ? "vocabulary.txt.gz" : "vocabulary.txt";
}

nlohmann::json read_config(const io::Path& path) {
  nlohmann::json config = nlohmann::json::parse(io::read_file(path, 16 << 20), nullptr, false);
  const bool valid = config.is_object() && config.contains("format") && config.contains("model") &&
                     config["model"].is_object() && config.contains("vocabulary") &&
                     config["vocabulary"].is_string();
  if (!valid)
    throw Error(ErrorKind::kDamaged, path.string() + " is not the config.json of a Trireme model",
                "name the folder that a train stage has written");
  if (config["format"] != kFormat)
    throw Error(ErrorKind::kInvalid,
                path.string() + " has format " + config["format"].dump() + ", this program reads 1",
                "use the version of Trireme that wrote it");
  return config;
}

}  // namespace

void DualEncoder::save(const std::string& folder, const std::string& provenance_json) const {
  const io::Path to(folder);
  io::make_folders(to);
  const std::string vocabulary = vocabulary_name(state_->vocabulary);
  if (!vocabulary.empty() && !io::same_file(state_->vocabulary, to / vocabulary))
    io::write_file_atomic(to / vocabulary, io::read_file(state_->vocabulary));
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const nn::NamedTensor& entry : state_->set.entries())
    tensors.emplace_back(entry.name, entry.tensor.detach().cpu());
  for (const auto& [name, tensor] : state_->standardization())
    if (tensor->defined()) tensors.emplace_back(name, tensor->cpu());
  checkpoint::write_safetensors(to / "model.safetensors", tensors, {{"format", "pt"}});
  nlohmann::ordered_json config;
  config["format"] = kFormat;
  config["model"] = nlohmann::ordered_json::parse(jobs::model_json(state_->spec));
  config["vocabulary"] = vocabulary;
  config["provenance"] = nlohmann::ordered_json::parse(provenance_json.empty() ? "{}" : provenance_json);
  io::write_file_atomic(to / "config.json", config.dump(2) + "\n");
}

std::unique_ptr<DualEncoder> DualEncoder::load(const std::string& folder) {
  const io::Path from(folder);
  const nlohmann::json config = read_config(from / "config.json");
  const std::string vocabulary = config["vocabulary"].get<std::string>();
  if (vocabulary.find('/') != std::string::npos)
    throw Error(ErrorKind::kDamaged,
                (from / "config.json").string() + ": vocabulary is not a plain file name");
  const jobs::ModelSpec spec = jobs::model_from_json(config["model"].dump());
  auto state = std::make_unique<State>(spec, 0, vocabulary.empty() ? "" : (from / vocabulary).string());
  std::unique_ptr<DualEncoder> model(new DualEncoder(std::move(state)));
  const checkpoint::SafetensorsFile file(from / "model.safetensors");
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const std::string& name : file.names()) tensors.emplace_back(name, file.view(name));
  model->load_state(tensors);
  return model;
}

}  // namespace trireme::worker::models

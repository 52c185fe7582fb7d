#include "worker/stages/train/state/train_state.h"

#include <ATen/ATen.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::stages::train {
namespace {

NamedTensors read_tensors(const io::Path& path, std::string* state = nullptr) {
  const checkpoint::SafetensorsFile file(path);
  NamedTensors tensors;
  for (const auto& name : file.names()) tensors.emplace_back(name, file.load(name));
  if (state != nullptr) {
    const auto found = file.metadata().find("state");
    if (found == file.metadata().end())
      throw Error(ErrorKind::kDamaged, path.string() + " has no training state in its metadata");
    *state = found->second;
  }
  return tensors;
}

bool is_standardization(const std::string& name) {
  static const std::set<std::string> kNames{"image_mean", "image_inverse_std", "text_mean",
                                            "text_inverse_std"};
  return kNames.count(name) > 0;
}

// The live tensors that a state is made of.
NamedTensors live_tensors(models::DualEncoder& encoder) {
  NamedTensors tensors = encoder.trainable_parameters();
  for (auto& buffer : encoder.moving_buffers()) tensors.push_back(buffer);
  for (auto& [name, tensor] : encoder.state())
    if (is_standardization(name)) tensors.emplace_back(name, tensor);
  return tensors;
}

}  // namespace

std::string to_json(const Progress& progress, int world_size) {
  return nlohmann::ordered_json{{"seed", progress.seed},           {"manifest_hash", progress.manifest_hash},
                                {"epoch", progress.epoch},         {"step", progress.step},
                                {"samples", progress.samples},     {"rollbacks", progress.rollbacks},
                                {"best_step", progress.best_step}, {"best_metric", progress.best_metric},
                                {"world_size", world_size}}
      .dump();
}

Progress progress_from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    Progress progress;
    json.at("seed").get_to(progress.seed);
    json.at("manifest_hash").get_to(progress.manifest_hash);
    json.at("epoch").get_to(progress.epoch);
    json.at("step").get_to(progress.step);
    json.at("samples").get_to(progress.samples);
    json.at("rollbacks").get_to(progress.rollbacks);
    json.at("best_step").get_to(progress.best_step);
    json.at("best_metric").get_to(progress.best_metric);
    return progress;
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::kDamaged, std::string("checkpoint state cannot be read: ") + error.what());
  }
}

NamedTensors on_host(const NamedTensors& tensors) {
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors)
    copies.emplace_back(name, tensor.detach().to(at::kCPU, tensor.scalar_type(), false, /*copy=*/true));
  return copies;
}

NamedTensors model_tensors(models::DualEncoder& encoder) {
  return on_host(live_tensors(encoder));
}

void load_model_tensors(models::DualEncoder& encoder, const NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  const std::map<std::string, at::Tensor> given(tensors.begin(), tensors.end());
  std::string faults;
  NamedTensors live = encoder.trainable_parameters();
  for (auto& buffer : encoder.moving_buffers()) live.push_back(buffer);
  for (auto& [name, tensor] : live) {
    const auto found = given.find(name);
    if (found == given.end()) {
      faults += " " + name + " is missing;";
    } else if (found->second.sizes() != tensor.sizes()) {
      faults += " " + name + " has another shape;";
    } else {
      tensor.detach().copy_(found->second);
    }
  }
  if (!faults.empty()) throw Error(ErrorKind::kDamaged, "checkpoint does not fit the model:" + faults);
  if (given.count("image_mean") > 0)
    encoder.set_image_standardization(given.at("image_mean"), given.at("image_inverse_std"));
  if (given.count("text_mean") > 0)
    encoder.set_text_standardization(given.at("text_mean"), given.at("text_inverse_std"));
}

std::string find_checkpoint(const std::string& checkpoint_folder, std::int64_t step,
                            const std::string& address) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  std::string newest;
  for (const auto& folder : io::list_folder_if_there(checkpoint_folder)) {
    if (!folder.filename().string().starts_with(name)) continue;
    nlohmann::json manifest;
    if (io::exists(folder / "manifest.json"))
      manifest = nlohmann::json::parse(io::read_file(folder / "manifest.json"), nullptr, false);
    if (!manifest.is_object() || manifest.value("address", address) == address) newest = folder.string();
  }
  if (newest.empty())
    throw Error(ErrorKind::kNotFound,
                "there is no checkpoint of step " + std::to_string(step) + " in " + checkpoint_folder);
  return newest;
}

TrainState read_state(const std::string& folder) {
  const io::Path path = folder;
  TrainState state;
  std::string progress;
  state.model = read_tensors(path / "model.safetensors", &progress);
  state.progress = progress_from_json(progress);
  state.optimizer = read_tensors(path / "optimizer.safetensors");
  const auto read_optional = [&](const char* name, NamedTensors& tensors) {
    if (io::exists(path / name)) tensors = read_tensors(path / name);
  };
  read_optional("average.safetensors", state.average);
  read_optional("training.safetensors", state.training);
  if (state.progress.best_step >= 0) state.best = read_tensors(path / "best.safetensors");
  return state;
}

}  // namespace trireme::worker::stages::train

#include "worker/exchange/export_parts.h"

#include <filesystem>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "jobs/specification/job_spec.h"
#include "jobs/store/run_files.h"

namespace trireme::worker::exchange {
namespace {

void need_same(const at::Tensor& tensor, const std::string& what) {
  if (tensor.defined())
    throw Error(ErrorKind::kInvalid,
                what + " was trained on standardised features, which the others do not know",
                "train without standardize_features");
}

}  // namespace

void need(bool fine, const std::string& field, const std::string& target, const std::string& hint) {
  if (!fine) throw Error(ErrorKind::kInvalid, field + " has no equal in " + target, hint);
}

std::unique_ptr<models::DualEncoder> open_for_export(const std::string& folder) {
  const io::Path trained = store::RunPaths{folder}.model();  // of a run
  auto model =
      models::DualEncoder::load(io::is_file(trained / "model.safetensors") ? trained.string() : folder);
  for (const auto& [name, tensor] : model->state())
    if (name == "image_mean" || name == "text_mean") need_same(tensor, name);
  return model;
}

Tensors mapped_tensors(models::DualEncoder& model, const checkpoint::NameMap& map,
                       const std::string& target) {
  Tensors result;
  for (const auto& [name, tensor] : model.state()) {
    if (model.decoder() != nullptr && name == "logit_scale") continue;  // it has no pairs to scale
    const auto rule = map.rule(name);
    need(rule.has_value(), name, target);
    for (auto& one : write_rule(*rule, tensor)) result.push_back(std::move(one));
    static const std::string kMean = "running_mean";  // PyTorch's norms also count their batches
    const std::string theirs = result.back().first;
    if (theirs.ends_with(kMean))
      result.emplace_back(theirs.substr(0, theirs.size() - kMean.size()) + "num_batches_tracked",
                          at::zeros({}, at::kLong));
  }
  return result;
}

void write_json_file(const io::Path& path, const nlohmann::ordered_json& value) {
  io::write_file_atomic(path, value.dump(2) + "\n");
}

void need_plain_blocks(const jobs::ModelSpec& spec, const std::string& target) {
  const jobs::ImageTowerSpec& image = spec.image;
  need(!image.post_norm && !image.gated_mlp && image.rotary == jobs::RotaryOrder::kOff,
       "image.post_norm, gated_mlp or rotary", target);
  need(!image.no_class_token, "image.no_class_token", target);
  need(image.pooling != jobs::ImagePooling::kAttention && image.pooling != jobs::ImagePooling::kQueries,
       said("image.pooling", image.pooling), target);
  need(spec.text.readout != jobs::TextReadout::kClass, "text.readout class", target);
}

void need_clip_blocks(const jobs::ModelSpec& spec, const std::string& target) {
  need_plain_blocks(spec, target);
  const jobs::ImageTowerSpec& image = spec.image;
  need(image.pooling != jobs::ImagePooling::kMean, "image.pooling mean", target);
  need(!image.layer_scale && !image.attention_norm && !image.mlp_norm && !spec.text.layer_scale,
       "layer_scale, attention_norm or mlp_norm", target);
  need(!spec.text.bidirectional, "text.bidirectional", target);
  need(spec.text.readout == jobs::TextReadout::kUnset || spec.text.readout == jobs::TextReadout::kEnd ||
           spec.text.readout == jobs::TextReadout::kLargest,
       said("text.readout", spec.text.readout), target);
  need(image.resize_mode != jobs::ResizeMode::kLongest, "image.resize_mode longest", target);
}

nlohmann::ordered_json model_text(const jobs::ModelSpec& spec) {
  jobs::ModelSpec plain = spec;
  plain.init_from = plain.image.weights = plain.text.weights = plain.text.tokenizer.vocabulary = "";
  return nlohmann::ordered_json::parse(jobs::model_json(plain));
}

nlohmann::ordered_json hf_preprocessor(const jobs::ImageTowerSpec& image, const std::string& processor) {
  const bool square = image.resize_mode == jobs::ResizeMode::kSquare,
             align = processor == "EfficientNetImageProcessor";
  nlohmann::ordered_json config{{"image_processor_type", processor}, {"do_resize", true}};
  if (square)
    config["size"] = {{"height", *image.resize_px}, {"width", *image.resize_px}};
  else
    config["size"] = {{"shortest_edge", *image.resize_px}};
  config["resample"] = image.interpolation == jobs::Interpolation::kBilinear ? 2 : 3;  // Pillow's numbers
  if (processor != "BlipImageProcessor") {                                             // which knows no crop
    config["do_center_crop"] = true;
    config["crop_size"] = {{"height", image.image_px}, {"width", image.image_px}};
  }
  config["do_rescale"] = true;
  config["rescale_factor"] = 1 / 255.0;
  if (align) {
    config["rescale_offset"] = false;
    config["include_top"] = false;
  }
  config["do_normalize"] = true;
  config["image_mean"] = image.mean;
  config["image_std"] = image.std;
  if (!align) config["do_convert_rgb"] = true;
  return config;
}

}  // namespace trireme::worker::exchange

#include "worker/models/dual_encoder.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/models/dual_encoder_state.h"
#include "worker/models/tower_weights.h"

namespace trireme::worker::models {
namespace {

constexpr std::array<float, 3> kClipMean{0.48145466f, 0.4578275f, 0.40821073f};
constexpr std::array<float, 3> kClipStd{0.26862954f, 0.26130258f, 0.27577711f};

std::array<float, 3> triple(const std::vector<double>& given, const std::array<float, 3>& otherwise,
                            const char* field, bool positive) {
  if (given.empty()) return otherwise;
  if (given.size() != 3 || (positive && *std::min_element(given.begin(), given.end()) <= 0))
    throw Error(ErrorKind::kInvalid, std::string("image tower: ") + field + " needs three numbers" +
                                         (positive ? " greater than 0" : ""));
  return {static_cast<float>(given[0]), static_cast<float>(given[1]), static_cast<float>(given[2])};
}

std::vector<nn::NamedTensor> entries(const nn::ParameterSet& set, std::size_t first, std::size_t last) {
  return {set.entries().begin() + static_cast<std::ptrdiff_t>(first),
          set.entries().begin() + static_cast<std::ptrdiff_t>(last)};
}

}  // namespace

DualEncoder::State::State(const jobs::ModelSpec& model, std::uint64_t seed, bool draw,
                          const std::string& vocabulary_path)
    : spec(model), vocabulary(vocabulary_path), set(seed, draw) {
  const jobs::TokenizerSpec& words = spec.text.tokenizer;
  tokenizer = text::make_tokenizer({words.kind, vocabulary, words.buckets, words.lower_case,
                                    words.strip_accents, words.split_ideographs, words.unescape_html,
                                    words.collapse_space, words.repair_text});
  build_image();
  build_text();
  logit_scale = set.constant("logit_scale", {}, spec.logit_scale_init);
  if (draw && !spec.image.weights.empty()) load_image_weights();
  if (draw && !spec.text.weights.empty()) load_text_weights();
  for (std::size_t i = 0; i < set.entries().size(); ++i)
    at::Tensor(set.entries()[i].tensor).set_requires_grad(!set.entries()[i].buffer && !is_frozen(i));
}

bool DualEncoder::State::is_frozen(std::size_t entry) const {
  if (entry < image_end) return spec.image.frozen;
  return entry >= image_projection_end && entry < text_end && spec.text.frozen;
}

void DualEncoder::State::build_image() {
  if (spec.image.kind == "vit") {
    image = make_vision_transformer(spec.image, set);
    image_end = set.entries().size();
    image_projection = Projection::matrix(set, "visual.proj", image->width(), spec.embed_dim);
  } else if (spec.image.kind == "efficientnet_lite0") {
    if (spec.image.weights.empty())
      throw Error(
          ErrorKind::kInvalid,
          "image tower efficientnet_lite0 keeps the statistics of its batch norms and cannot start from "
          "scratch",
          "set weights to pretrained:efficientnet-lite0, or use a vit");
    image = make_efficientnet_lite0(set);
    image_end = set.entries().size();
    image_projection = Projection::linear(set, "visual.projection", image->width(), spec.embed_dim);
  } else {
    throw Error(ErrorKind::kInvalid, "unknown image tower kind '" + spec.image.kind + "'",
                "known are vit and efficientnet_lite0");
  }
  image_projection_end = set.entries().size();
}

void DualEncoder::State::build_text() {
  const std::int64_t vocabulary_size = tokenizer->vocabulary_size();
  if (spec.text.kind == "transformer") {
    text = make_text_transformer(spec.text, vocabulary_size, tokenizer->end_id(), set);
    text_end = set.entries().size();
    text_projection = Projection::matrix(set, "text_projection", text->width(), spec.embed_dim);
  } else if (spec.text.kind == "bert") {
    text = make_bert(spec.text, vocabulary_size, tokenizer->pad_id(), set);
    text_end = set.entries().size();
    text_projection = Projection::linear(set, "text.projection", text->width(), spec.embed_dim);
  } else {
    throw Error(ErrorKind::kInvalid, "unknown text tower kind '" + spec.text.kind + "'",
                "known are transformer and bert");
  }
  text_projection_end = set.entries().size();
}

void DualEncoder::State::load_image_weights() {
  const std::string path = resolve_weights(spec.image.weights);
  const checkpoint::SafetensorsFile file(path);
  const NameMap names = spec.image.kind == "vit" ? clip_image_names() : efficientnet_names();
  load_tower(file, path, names, entries(set, 0, image_projection_end),
             {"visual.proj", "visual.projection.weight", "visual.projection.bias"});
}

void DualEncoder::State::load_text_weights() {
  const std::string path = resolve_weights(spec.text.weights);
  const checkpoint::SafetensorsFile file(path);
  const bool clip = spec.text.kind == "transformer";
  const auto heads = file.metadata().find("num_attention_heads");
  if (heads != file.metadata().end() && heads->second != std::to_string(spec.text.heads))
    throw Error(ErrorKind::kInvalid,
                "weights " + path + " have " + heads->second + " attention heads, the text tower has " +
                    std::to_string(spec.text.heads),
                "set the text tower's heads to " + heads->second);
  load_tower(file, path, clip ? clip_text_names() : bert_names(),
             entries(set, image_projection_end, text_projection_end),
             {"text_projection", "text.projection.weight", "text.projection.bias"});
  // One CLIP file for both towers: its temperature belongs to them.
  if (spec.text.weights == spec.image.weights && file.contains("logit_scale"))
    logit_scale.copy_(file.view("logit_scale").squeeze());
}

std::vector<std::pair<std::string, at::Tensor*>> DualEncoder::State::standardization() {
  return {{"image_mean", &image_projection.mean_T},
          {"image_inverse_std", &image_projection.inverse_std_T},
          {"text_mean", &text_projection.mean_T},
          {"text_inverse_std", &text_projection.inverse_std_T}};
}

DualEncoder::DualEncoder(const jobs::ModelSpec& spec, std::uint64_t seed)
    : state_(std::make_unique<State>(spec, seed, true,
                                     spec.text.tokenizer.kind == "hashed_words"
                                         ? ""
                                         : resolve_vocabulary(spec.text.tokenizer.vocabulary))) {}
DualEncoder::DualEncoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
DualEncoder::~DualEncoder() = default;

const jobs::ModelSpec& DualEncoder::spec() const {
  return state_->spec;
}
const text::Tokenizer& DualEncoder::tokenizer() const {
  return *state_->tokenizer;
}
std::int64_t DualEncoder::image_tower_width() const {
  return state_->image->width();
}
std::int64_t DualEncoder::text_tower_width() const {
  return state_->text->width();
}

ImagePreprocess DualEncoder::image_preprocess() const {
  const jobs::ImageTowerSpec& image = state_->spec.image;
  const bool clip = image.kind == "vit";
  const std::array<float, 3> half{0.5f, 0.5f, 0.5f};
  ImagePreprocess preprocess;
  preprocess.image_px = image.image_px;
  // efficientnet_lite0 crops 224 out of 256; other sizes keep that ratio.
  preprocess.resize_px = image.resize_px.value_or(clip ? image.image_px : image.image_px * 256 / 224);
  if (preprocess.resize_px < preprocess.image_px)
    throw Error(ErrorKind::kInvalid, "image tower: resize_px is smaller than image_px",
                "set resize_px to at least " + std::to_string(preprocess.image_px));
  preprocess.mean = triple(image.mean, clip ? kClipMean : half, "mean", false);
  preprocess.std = triple(image.std, clip ? kClipStd : half, "std", true);
  return preprocess;
}

at::Tensor DualEncoder::image_features(const at::Tensor& image_BCHW) {
  const at::AutoGradMode gradients(at::GradMode::is_enabled() && !state_->spec.image.frozen);
  return state_->image->forward(image_BCHW);
}

at::Tensor DualEncoder::text_features(const at::Tensor& tokens_NL) {
  const at::AutoGradMode gradients(at::GradMode::is_enabled() && !state_->spec.text.frozen);
  return state_->text->forward(tokens_NL);
}

at::Tensor DualEncoder::project_image(const at::Tensor& features_BT) {
  return state_->image_projection.forward(features_BT);
}

at::Tensor DualEncoder::project_text(const at::Tensor& features_NT) {
  return state_->text_projection.forward(features_NT);
}

at::Tensor DualEncoder::logit_scale() {
  return state_->logit_scale;
}

namespace {

void set_standardization(Projection& projection, std::int64_t width, const at::Tensor& mean_T,
                         const at::Tensor& inverse_std_T, const at::Device& device) {
  if (mean_T.sizes() != at::IntArrayRef{width} || inverse_std_T.sizes() != at::IntArrayRef{width})
    throw Error(ErrorKind::kInvalid, "standardisation needs a mean and a scale for each of the tower's " +
                                         std::to_string(width) + " features");
  projection.mean_T = mean_T.detach().to(device, at::kFloat, false, true);
  projection.inverse_std_T = inverse_std_T.detach().to(device, at::kFloat, false, true);
}

}  // namespace

void DualEncoder::set_image_standardization(const at::Tensor& mean_T, const at::Tensor& inverse_std_T) {
  set_standardization(state_->image_projection, image_tower_width(), mean_T, inverse_std_T,
                      state_->logit_scale.device());
}

void DualEncoder::set_text_standardization(const at::Tensor& mean_T, const at::Tensor& inverse_std_T) {
  set_standardization(state_->text_projection, text_tower_width(), mean_T, inverse_std_T,
                      state_->logit_scale.device());
}

std::vector<std::pair<std::string, at::Tensor>> DualEncoder::trainable_parameters() {
  std::vector<std::pair<std::string, at::Tensor>> result;
  for (const nn::NamedTensor& entry : state_->set.entries())
    if (entry.tensor.requires_grad()) result.emplace_back(entry.name, entry.tensor);
  return result;
}

std::vector<std::pair<std::string, at::Tensor>> DualEncoder::state() {
  std::vector<std::pair<std::string, at::Tensor>> result;
  for (const nn::NamedTensor& entry : state_->set.entries()) result.emplace_back(entry.name, entry.tensor);
  for (const auto& [name, tensor] : state_->standardization())
    if (tensor->defined()) result.emplace_back(name, *tensor);
  return result;
}

void DualEncoder::load_state(const std::vector<std::pair<std::string, at::Tensor>>& state) {
  at::NoGradGuard no_grad;
  std::unordered_map<std::string, at::Tensor> given(state.begin(), state.end());
  std::vector<std::string> there, expected;
  for (const auto& [name, tensor] : state) there.push_back(name);
  WeightFaults faults("the saved state");
  for (const nn::NamedTensor& entry : state_->set.entries()) {
    expected.push_back(entry.name);
    const auto found = given.find(entry.name);
    if (found == given.end())
      faults.missing(entry.name, there);
    else if (found->second.sizes() != entry.tensor.sizes())
      faults.mismatch(entry.name, entry.tensor.sizes(), found->second.sizes());
  }
  const std::vector<std::pair<std::string, std::int64_t>> optional{{"image_mean", image_tower_width()},
                                                                   {"image_inverse_std", image_tower_width()},
                                                                   {"text_mean", text_tower_width()},
                                                                   {"text_inverse_std", text_tower_width()}};
  for (const auto& [name, width] : optional) {
    expected.push_back(name);
    const auto found = given.find(name);
    if (found != given.end() && found->second.sizes() != at::IntArrayRef{width})
      faults.mismatch(name, {width}, found->second.sizes());
  }
  for (const char* side : {"image", "text"})
    if (given.count(std::string(side) + "_mean") != given.count(std::string(side) + "_inverse_std"))
      faults.add(std::string("incomplete: ") + side + "_mean and " + side + "_inverse_std go together");
  for (const std::string& name : there)
    if (std::find(expected.begin(), expected.end(), name) == expected.end()) faults.surplus(name, expected);
  faults.throw_if_any("the state belongs to another model; use the specification it was trained with");
  for (const nn::NamedTensor& entry : state_->set.entries())
    at::Tensor(entry.tensor).copy_(given.at(entry.name));
  for (const auto& [name, tensor] : state_->standardization()) {
    const auto found = given.find(name);
    *tensor = found == given.end()
                  ? at::Tensor()
                  : found->second.detach().to(state_->logit_scale.device(), at::kFloat, false, true);
  }
}

void DualEncoder::to(const std::string& device) {
  at::NoGradGuard no_grad;
  const at::Device target(device);
  for (const nn::NamedTensor& entry : state_->set.entries())
    at::Tensor(entry.tensor).set_data(entry.tensor.to(target));
  for (const auto& [name, tensor] : state_->standardization())
    if (tensor->defined()) *tensor = tensor->to(target);
}

// No tower here has dropout or running statistics, so that training and evaluation run the same forward pass.
void DualEncoder::train(bool) {}

}  // namespace trireme::worker::models

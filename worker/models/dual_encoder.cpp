#include "worker/models/dual_encoder.h"

#include <algorithm>
#include <unordered_map>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "jobs/checkpoint/checkpoint_config.h"
#include "jobs/store/published.h"
#include "worker/models/length_bucket.h"
#include "worker/models/weights/dual_encoder_state.h"
#include "worker/models/weights/tower_weights.h"

namespace trireme::worker::models {
namespace {

std::string vocabulary_of(const jobs::ModelSpec& spec) {
  const jobs::TokenizerSpec& tokenizer = spec.text.tokenizer;
  return tokenizer.kind == jobs::TokenizerKind::kHashedWords ? ""
                                                             : jobs::resolve_vocabulary(tokenizer.vocabulary);
}

jobs::ModelSpec adopted(jobs::ModelSpec spec) {
  jobs::adopt_configs(spec);
  return spec;
}

}  // namespace

DualEncoder::DualEncoder(const jobs::ModelSpec& spec, std::uint64_t seed)
    : state_(std::make_unique<State>(adopted(spec), seed, vocabulary_of(spec))) {
  state_->initialize();
  if (spec.blend) blend(*spec.blend, seed);
}

// (1 - share) own + share other, tensor by tensor, in float32.
void DualEncoder::blend(const jobs::BlendSpec& blend, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  jobs::ModelSpec other_spec = state_->spec;
  other_spec.blend.reset();
  other_spec.init_from = blend.with;
  DualEncoder other(other_spec, seed);
  const auto theirs = other.state(), ours = state();
  const auto refuse = [&](const std::string& name) {
    throw Error(ErrorKind::kInvalid, "blend: " + blend.with + " and the model differ in tensor " + name,
                "name two checkpoints of one architecture that read the same kind of features");
  };
  if (theirs.size() != ours.size()) refuse("lists (one has standardised features)");
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (ours[i].first != theirs[i].first || ours[i].second.sizes() != theirs[i].second.sizes())
      refuse(ours[i].first);
    if (at::isFloatingType(ours[i].second.scalar_type()))
      at::Tensor(ours[i].second).copy_(at::lerp(ours[i].second, theirs[i].second, blend.share));
  }
}

void check_named_weights(const jobs::ModelSpec& spec) {
  DualEncoder::State(adopted(spec), 0, vocabulary_of(spec)).load_named_weights(WeightReading::kCompare);
}

DualEncoder::DualEncoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
DualEncoder::~DualEncoder() = default;

const jobs::ModelSpec& DualEncoder::spec() const {
  return state_->spec;
}
const text::Tokenizer& DualEncoder::tokenizer() const {
  return *state_->tokenizer;
}
const std::string& DualEncoder::vocabulary_path() const {
  return state_->vocabulary;
}
std::int64_t DualEncoder::image_tower_width() const {
  return state_->image->width();
}
std::int64_t DualEncoder::text_tower_width() const {
  return state_->decoder ? state_->spec.text.width : state_->text->width();
}

jobs::ImagePreprocess DualEncoder::image_preprocess() const {
  return jobs::image_preprocess(state_->spec.image);
}

at::Tensor DualEncoder::image_features(const at::Tensor& image_BCHW, const nn::ForwardContext& context) {
  const at::AutoGradMode gradients(at::GradMode::is_enabled() && !state_->spec.image.frozen);
  nn::ForwardContext here = context;
  here.training = here.training && !state_->spec.image.frozen;
  if (here.training) return state_->image->forward(image_BCHW, here);
  return state_->image_replay.run(
      image_BCHW, [&](const at::Tensor& image) { return state_->image->forward(image, here); });
}

at::Tensor DualEncoder::image_tokens(const at::Tensor& image_BCHW, const nn::ForwardContext& context) const {
  const at::AutoGradMode gradients(at::GradMode::is_enabled() && !state_->spec.image.frozen);
  nn::ForwardContext here = context;
  here.training = here.training && !state_->spec.image.frozen;
  if (here.training) return state_->image->tokens(image_BCHW, here);
  return state_->token_replay.run(
      image_BCHW, [&](const at::Tensor& image) { return state_->image->tokens(image, here); });
}

const CaptionDecoder* DualEncoder::decoder() const {
  return state_->decoder.get();
}

at::Tensor DualEncoder::text_features(const at::Tensor& tokens_NL, const nn::ForwardContext& context) {
  if (state_->decoder)
    throw Error(ErrorKind::kInvalid, "a captioner has no text features", "use a model with a text tower");
  const at::AutoGradMode gradients(at::GradMode::is_enabled() && !state_->spec.text.frozen);
  nn::ForwardContext here = context;
  here.training = here.training && !state_->spec.text.frozen;
  if (here.training || !kernels::can_replay(tokens_NL.device()))
    return state_->text->forward(tokens_NL, here);
  return state_->text_replay.run(
      padded_to_bucket(tokens_NL, state_->spec.text.context, state_->tokenizer->pad_id()),
      [&](const at::Tensor& tokens) { return state_->text->forward(tokens, here); });
}

std::int64_t DualEncoder::norm_channels() const {
  return state_->norm_channels;
}

namespace {

// moving = (1 - share) moving + share / groups * sum, unless there was no group. Nobody waits for a device.
class MovingStatistics {
 public:
  MovingStatistics(double share, const at::Tensor& groups) : share_(share) {
    if (groups.is_cpu()) {
      groups_ = groups.item<double>();
      return;
    }
    moves_ = groups.gt(0);
    factor_ = share / groups;
  }
  void move(const at::Tensor& moving, const at::Tensor& sum) const {
    if (moves_.defined())
      moving.copy_(at::where(moves_, moving * (1 - share_) + sum * factor_, moving));
    else if (groups_ > 0)
      moving.mul_(1 - share_).add_(sum, share_ / groups_);
  }

 private:
  double share_, groups_ = 0;
  at::Tensor moves_, factor_;  // on a device
};

}  // namespace

void DualEncoder::absorb_norm_statistics(const at::Tensor& numbers) {
  const at::NoGradGuard no_grad;
  const std::int64_t channels = state_->norm_channels;
  if (channels == 0) return;
  const MovingStatistics statistics(state_->spec.image.batch_norm.momentum, numbers[2 * channels]);
  std::int64_t first = 0;
  for (auto& norm : state_->moving_norms()) {
    const std::int64_t count = norm.mean_C.numel();
    if (norm.moves) {
      statistics.move(norm.mean_C, numbers.narrow(0, first, count));
      statistics.move(norm.variance_C, numbers.narrow(0, channels + first, count));
    }
    first += count;
  }
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

at::Tensor DualEncoder::image_mean() const {
  return state_->image_projection.mean_T;
}

std::vector<std::pair<std::string, at::Tensor>> DualEncoder::trainable_parameters() {
  std::vector<std::pair<std::string, at::Tensor>> result;
  for (const nn::NamedTensor& entry : state_->set.entries())
    if (entry.tensor.requires_grad()) result.emplace_back(entry.name, entry.tensor);
  return result;
}

std::vector<std::pair<std::string, at::Tensor>> DualEncoder::moving_buffers() {
  std::vector<std::pair<std::string, at::Tensor>> result;
  for (const auto& norm : state_->moving_norms()) {
    if (!norm.moves) continue;
    result.emplace_back(norm.name + ".running_mean", norm.mean_C);
    result.emplace_back(norm.name + ".running_var", norm.variance_C);
  }
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
  for (kernels::Replay* replay : {&state_->image_replay, &state_->token_replay, &state_->text_replay})
    replay->forget();
  for (const nn::NamedTensor& entry : state_->set.entries())
    at::Tensor(entry.tensor).set_data(entry.tensor.to(target));
  for (const auto& [name, tensor] : state_->standardization())
    if (tensor->defined()) *tensor = tensor->to(target);
}

}  // namespace trireme::worker::models

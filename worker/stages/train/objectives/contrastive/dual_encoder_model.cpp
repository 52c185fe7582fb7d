#include "worker/stages/train/objectives/contrastive/dual_encoder_model.h"

#include <ATen/ATen.h>

#include <cmath>
#include <functional>
#include <optional>

#include "worker/kernels/sent.h"
#include "worker/losses/soft_target_loss.h"
#include "worker/models/length_bucket.h"
#include "worker/optim/optimizer.h"

namespace trireme::worker::stages::train {
namespace {

// A frozen tower's activations are not kept.
template <class Tower>
at::Tensor tower(bool frozen, Tower run) {
  const at::AutoGradMode grad(!frozen && at::GradMode::is_enabled());
  return run();
}

at::Tensor scalar(double value, const at::Tensor& like) {
  return at::full({}, value, like.options().requires_grad(false));
}

std::int64_t head_width(const models::DualEncoder& encoder, bool on_embedding) {
  return on_embedding ? encoder.spec().embed_dim : encoder.image_tower_width();
}

// Rows that are not live would count in the statistics of batch norms: only live ones run, zeros stand for
// the others.
at::Tensor live_rows_only(const at::Tensor& live_B, const at::Tensor& input_B, std::int64_t width,
                          const std::function<at::Tensor(const at::Tensor&)>& run) {
  const at::Tensor living = live_B.nonzero().squeeze(1);
  if (living.numel() == input_B.size(0)) return run(input_B);
  if (living.numel() == 0) return at::zeros({input_B.size(0), width}, input_B.options());
  const at::Tensor rows = kernels::sent_to(living, input_B.device());
  const at::Tensor features = run(input_B.index_select(0, rows));
  return at::zeros({input_B.size(0), features.size(1)}, features.options()).index_copy(0, rows, features);
}

}  // namespace

DualEncoderModel::DualEncoderModel(models::DualEncoder& encoder, const DualEncoderOptions& options)
    : PairLearner(options.loss),
      encoder_(encoder),
      heads_(options.heads, head_width(encoder, options.heads_on_embedding), options.seed, options.device),
      heads_on_embedding_(options.heads_on_embedding) {
  const at::NoGradGuard no_grad;
  const auto scale = encoder.logit_scale();
  const auto& kind = options.loss.temperature;
  const bool sigma = kind.kind == losses::TemperatureKind::kSigma;
  if (sigma)
    temperature_ = scalar(options.initial_temperature.value_or(1), scale);
  else if (options.initial_temperature)
    scale.fill_(kind.parameter_of(*options.initial_temperature));
  if (!sigma) temperature_ = scale;
  temperature_.set_requires_grad(kind.learnt);
  if (options.sigmoid_bias) bias_ = scalar(*options.sigmoid_bias, scale).set_requires_grad(true);
  updated();
}

bool DualEncoderModel::repeats() const {
  const auto& image = encoder_.spec().image;
  const auto& text = encoder_.spec().text;
  const bool draws = image.stochastic_depth > 0 || image.patch_dropout > 0;
  const bool in_pieces = image.frozen || text.frozen ||  // those are recorded by themselves
                         image.gradient_checkpointing || text.gradient_checkpointing;
  return heads_.size() == 0 && encoder_.norm_channels() == 0 && !draws && !in_pieces;
}

SlotInput DualEncoderModel::padded(const SlotInput& input) const {
  SlotInput result = input;
  for (at::Tensor* tokens : {&result.tokens_BL, &result.caption_tokens_BL})
    if (tokens->defined())
      *tokens =
          models::padded_to_bucket(*tokens, encoder_.spec().text.context, encoder_.tokenizer().pad_id());
  return result;
}

NamedTensors DualEncoderModel::parameters() {
  NamedTensors named;
  const auto scale = encoder_.logit_scale();
  for (auto& one : encoder_.trainable_parameters())
    if (one.second.data_ptr() != scale.data_ptr()) named.push_back(std::move(one));
  if (options().temperature.learnt)
    named.emplace_back(temperature_.data_ptr() == scale.data_ptr() ? "logit_scale" : "sigma", temperature_);
  if (bias_.defined()) named.emplace_back("sigmoid_bias", bias_);
  for (auto& one : heads_.parameters()) named.push_back(std::move(one));
  return named;
}

void DualEncoderModel::updated() {
  const auto& kind = options().temperature;
  if (kind.kind != losses::TemperatureKind::kSigma) return;
  const at::NoGradGuard no_grad;
  if (!temperature_.is_cpu())  // nobody waits for a GPU here
    encoder_.logit_scale().copy_(-temperature_.to(at::kDouble).log());
  else
    encoder_.logit_scale().fill_(std::log(kind.scale(temperature_.item<double>())));
}

NamedTensors DualEncoderModel::own_state() const {
  NamedTensors state;
  if (options().temperature.kind == losses::TemperatureKind::kSigma)
    state.emplace_back("sigma", temperature_.detach());
  if (bias_.defined()) state.emplace_back("sigmoid_bias", bias_.detach());
  for (const auto& [name, tensor] : heads_.parameters()) state.emplace_back(name, tensor.detach());
  return state;
}

NamedTensors DualEncoderModel::state() const {
  NamedTensors state = own_state();
  for (auto& named : PairLearner::state()) state.push_back(std::move(named));
  return state;
}

void DualEncoderModel::load_state(const NamedTensors& state) {
  optim::copy_state(own_state(), state, "checkpoint does not fit the losses:");
  PairLearner::load_state(state);
  updated();
}

SlotOutput DualEncoderModel::forward(const SlotInput& input) {
  const auto& spec = encoder_.spec();
  nn::ForwardContext context{true, input.seed, input.step, input.slot, input.first_row, nullptr};
  std::optional<nn::BatchStatistics> statistics;
  if (encoder_.norm_channels() > 0) context.statistics = &statistics.emplace(encoder_.norm_channels());
  const auto images = [&](const at::Tensor& image_BCHW) {
    return encoder_.image_features(image_BCHW, context);
  };
  const auto encode = [&](const at::Tensor& tokens_BL) {
    return tower(spec.text.frozen, [&] { return encoder_.text_features(tokens_BL, context); });
  };
  const at::Tensor image =
      input.image_features_BT.defined() ? input.image_features_BT : tower(spec.image.frozen, [&] {
        return statistics
                   ? live_rows_only(input.live_B, input.image_BCHW, encoder_.image_tower_width(), images)
                   : images(input.image_BCHW);
      });
  SlotOutput output;
  output.rows_BD.push_back(encoder_.project_image(image));
  if (statistics) output.statistics = statistics->numbers();
  output.rows_BD.push_back(encoder_.project_text(input.text_features_BT.defined() ? input.text_features_BT
                                                                                  : encode(input.tokens_BL)));
  if (input.caption_tokens_BL.defined() || input.caption_features_BT.defined())
    output.rows_BD.push_back(encoder_.project_text(
        input.caption_features_BT.defined() ? input.caption_features_BT : encode(input.caption_tokens_BL)));
  if (heads_.size() > 0)
    output.sum_H = head_losses(heads_on_embedding_ ? output.rows_BD[0] : image, input.targets);
  return output;
}

at::Tensor DualEncoderModel::head_losses(const at::Tensor& features_BT,
                                         const std::vector<SoftTargets>& targets) const {
  std::vector<at::Tensor> sums;
  for (std::size_t h = 0; h < heads_.size(); ++h)
    sums.push_back(
        losses::soft_target_loss(heads_.logits(h, features_BT), targets[h].index_Bk, targets[h].weight_Bk)
            .sum());
  return at::stack(sums).to(at::kFloat);
}

}  // namespace trireme::worker::stages::train

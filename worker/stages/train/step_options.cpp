#include "worker/stages/train/step_options.h"

#include <algorithm>
#include <cmath>

namespace trireme::worker::stages::train {
namespace {

optim::Schedule schedule_of(const jobs::OptimizerSpec& spec, std::int64_t total_steps) {
  optim::Schedule schedule;
  schedule.peak = spec.learning_rate;
  schedule.warmup_steps = spec.warmup_steps;
  schedule.total_steps = total_steps;
  schedule.shape = spec.schedule == "cosine"     ? optim::Shape::kCosine
                   : spec.schedule == "linear"   ? optim::Shape::kLinear
                   : spec.schedule == "constant" ? optim::Shape::kConstant
                                                 : optim::Shape::kOneCycle;
  schedule.beta1 = spec.beta1;
  const auto& cycle = spec.one_cycle;
  schedule.one_cycle = {cycle.rise,        cycle.start_divisor, cycle.end_divisor,
                        cycle.cycle_beta1, cycle.beta1_low,     cycle.beta1_high};
  return schedule;
}

optim::OptimizerOptions optimizer_of(const jobs::OptimizerSpec& spec) {
  optim::OptimizerOptions options{
      spec.kind, spec.beta2, spec.epsilon, {spec.weight_decay, spec.decay_on == "all", {}}};
  for (const auto& group : spec.groups)
    options.groups.rules.push_back(
        {group.names, group.learning_rate_factor, group.weight_decay_factor, group.layer_adaptation});
  return options;
}

losses::ContrastiveOptions contrastive_of(const jobs::LossSpec& spec, std::int64_t seed) {
  losses::ContrastiveOptions options;
  options.kind =
      spec.kind == "sigmoid" ? losses::ContrastiveKind::kSigmoid : losses::ContrastiveKind::kSoftmax;
  options.reduction = spec.reduction == "half_mean"      ? losses::Reduction::kHalfMean
                      : spec.reduction == "sum_of_means" ? losses::Reduction::kSumOfMeans
                                                         : losses::Reduction::kSum;
  options.smoothing = spec.label_smoothing;
  options.alpha = spec.hard_negatives.alpha;
  options.beta = spec.hard_negatives.beta;
  options.detach_weights = spec.hard_negatives.detach_weights;
  options.negative_fraction = spec.negative_fraction;
  options.seed = static_cast<std::uint64_t>(seed);
  return options;
}

losses::Temperature temperature_of(const jobs::LossSpec& spec, const jobs::ModelSpec& model) {
  return {spec.temperature.parameter == "sigma" ? losses::TemperatureKind::kSigma
                                                : losses::TemperatureKind::kLogitScale,
          spec.temperature.learnt, std::exp(model.logit_scale_min), std::exp(model.logit_scale_max)};
}

}  // namespace

StepOptions step_options(const jobs::TrainSettings& settings, const jobs::ModelSpec& model,
                         std::int64_t total_steps) {
  StepOptions options{.slots = settings.logical_slots,
                      .bf16 = settings.precision == "bf16",
                      .micro_batch = settings.micro_batch,
                      .loss = contrastive_of(settings.loss, settings.seed),
                      .temperature = temperature_of(settings.loss, model)};
  const auto& gates = settings.loss.gates;
  if (settings.loss.any_gate())
    options.gates = {gates.sample,       gates.text,       gates.caption,
                     gates.gamma_sample, gates.gamma_pair, gates.momentum};
  options.gates_at_start = {gates.h_init, gates.h_init, gates.h_init};
  for (const auto& head : settings.concepts.heads) options.head_weights.push_back(head.weight);
  if (settings.objective == "captioning") {  // one loss, no pairs to scale
    options.head_weights = {1};
    options.temperature.learnt = false;
  }
  options.gradient_clip_norm = settings.optimizer.gradient_clip_norm;
  options.schedule = schedule_of(settings.optimizer, total_steps);
  options.optimizer = optimizer_of(settings.optimizer);
  options.average_decay = settings.average.decay;
  options.average_warm_up = settings.average.warm_up;
  return options;
}

DualEncoderOptions encoder_options(const jobs::TrainSettings& settings, const jobs::ModelSpec& model,
                                   const std::string& device) {
  DualEncoderOptions options;
  options.temperature = temperature_of(settings.loss, model);
  options.initial_temperature = settings.loss.temperature.initial;
  if (settings.loss.kind == "sigmoid") options.sigmoid_bias = settings.loss.sigmoid_bias_init;
  for (const auto& head : settings.concepts.heads)
    options.heads.push_back({head.name, static_cast<std::int64_t>(head.vocabulary.size())});
  options.heads_on_embedding = settings.concepts.on == "embedding";
  options.seed = static_cast<std::uint64_t>(settings.seed);
  options.device = device;
  return options;
}

std::vector<std::string> loss_parts(const jobs::TrainSettings& settings) {
  std::vector<std::string> names;
  if (settings.objective == "captioning") return {"caption"};
  if (settings.loss.texts != "caption") names.emplace_back("image_text");
  if (settings.loss.texts != "raw") names.emplace_back("image_caption");
  for (const auto& head : settings.concepts.heads) names.push_back("concepts." + head.name);
  return names;
}

StepRow row_of(const StepResult& done, const std::vector<std::string>& part_names) {
  StepRow row{.live = done.live,
              .loss = done.loss,
              .learning_rate = done.learning_rate,
              .logit_scale = done.logit_scale,
              .gradient_norm = done.gradient_norm,
              .skipped = done.too_few || done.non_finite,
              .non_finite = done.non_finite};
  std::vector<double> values = done.pair_loss;
  values.insert(values.end(), done.head_loss.begin(), done.head_loss.end());
  if (part_names.size() > 1)  // else it is the loss
    for (std::size_t i = 0; i < std::min(values.size(), part_names.size()); ++i)
      row.parts.emplace_back(part_names[i], values[i]);
  if (done.gates)
    row.gates = {{"h_text_caption", done.gates->state.h_tc},  {"h_image_text", done.gates->state.h_xt},
                 {"h_image_caption", done.gates->state.h_xc}, {"mean_sample", done.gates->mean_sample},
                 {"mean_text", done.gates->mean_text},        {"mean_caption", done.gates->mean_caption}};
  return row;
}

}  // namespace trireme::worker::stages::train

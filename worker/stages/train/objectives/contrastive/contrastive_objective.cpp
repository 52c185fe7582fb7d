#include "worker/stages/train/objectives/contrastive/contrastive_objective.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "common/base/processor_time.h"

namespace trireme::worker::stages::train {
namespace {

losses::ContrastiveOptions contrastive_of(const jobs::LossSpec& spec, std::int64_t seed) {
  losses::ContrastiveOptions options;
  options.kind = spec.kind == jobs::LossKind::kSigmoid ? losses::ContrastiveKind::kSigmoid
                                                       : losses::ContrastiveKind::kSoftmax;
  options.reduction = spec.reduction == jobs::LossReduction::kHalfMean     ? losses::Reduction::kHalfMean
                      : spec.reduction == jobs::LossReduction::kSumOfMeans ? losses::Reduction::kSumOfMeans
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
  return {spec.temperature.parameter == jobs::TemperatureParameter::kSigma
              ? losses::TemperatureKind::kSigma
              : losses::TemperatureKind::kLogitScale,
          spec.temperature.learnt, std::exp(model.logit_scale_min), std::exp(model.logit_scale_max)};
}

PairLossOptions pair_options(const jobs::TrainSettings& settings, const jobs::ModelSpec& model) {
  PairLossOptions options{.contrastive = contrastive_of(settings.loss, settings.seed),
                          .temperature = temperature_of(settings.loss, model)};
  const auto& gates = settings.loss.gates;
  if (settings.loss.any_gate())
    options.gates = {gates.sample,       gates.text,       gates.caption,
                     gates.gamma_sample, gates.gamma_pair, gates.momentum};
  options.gates_at_start = {gates.h_init, gates.h_init, gates.h_init};
  for (const auto& head : settings.concepts.heads) options.head_weights.push_back(head.weight);
  return options;
}

DualEncoderOptions encoder_options(const jobs::TrainSettings& settings, const jobs::ModelSpec& model,
                                   const std::string& device) {
  DualEncoderOptions options;
  options.loss = pair_options(settings, model);
  options.initial_temperature = settings.loss.temperature.initial;
  if (settings.loss.kind == jobs::LossKind::kSigmoid) options.sigmoid_bias = settings.loss.sigmoid_bias_init;
  for (const auto& head : settings.concepts.heads)
    options.heads.push_back({head.name, static_cast<std::int64_t>(head.vocabulary.size())});
  options.heads_on_embedding = settings.concepts.on == jobs::ConceptInput::kEmbedding;
  options.seed = static_cast<std::uint64_t>(settings.seed);
  options.device = device;
  return options;
}

// Those whose names are of heads' parameters.
NamedTensors heads_of(const NamedTensors& tensors) {
  NamedTensors heads;
  for (const auto& one : tensors)
    if (one.first.starts_with("concepts.")) heads.push_back(one);
  return heads;
}

// `parameters` have every head of `spec`; as the model folder keeps them.
models::SavedHeads saved_heads(const jobs::ConceptsSpec& spec, const NamedTensors& parameters) {
  models::SavedHeads saved;
  saved.on_embedding = spec.on == jobs::ConceptInput::kEmbedding;
  const auto of = [&](const std::string& name) {
    return std::ranges::find(parameters, "concepts." + name, &NamedTensors::value_type::first)
        ->second.detach()
        .to(at::kCPU, at::kFloat, false, /*copy=*/true);
  };
  for (std::size_t h = 0; h < spec.heads.size(); ++h) {
    saved.vocabularies.lists.push_back({spec.heads[h].name, {}});
    for (const auto& name : spec.heads[h].vocabulary)
      saved.vocabularies.lists.back().concepts.push_back({name, -1, "", ""});
    saved.weight_VT.push_back(of(spec.heads[h].name + ".weight"));
    saved.bias_V.push_back(of(spec.heads[h].name + ".bias"));
  }
  return saved;
}

}  // namespace

ContrastiveObjective::ContrastiveObjective(const ObjectiveSetup& setup)
    : setup_(setup), settings_(setup.settings) {
  open_inputs();
  open_stored();
  model_ = std::make_unique<DualEncoderModel>(setup.encoder,
                                              encoder_options(settings_, setup.encoder.spec(), setup.device));
  if (setup.evaluated != nullptr)
    evaluator_.emplace(*setup.evaluated, setup.encoder, setup.group, setup.pool, setup.device);
}

void ContrastiveObjective::open_inputs() {
  DataSet& data = setup_.data;
  resolve_vocabularies(settings_.concepts, setup_.inputs);
  inputs_.concepts = concept_sources(settings_.concepts);
  const double begin = thread_seconds();
  join_concepts(data, settings_.concepts, setup_.inputs, inputs_.concepts);
  sidecars_.opened_seconds = data.sidecar_seconds + thread_seconds() - begin;
  inputs_.texts = text_choice(data, settings_);
  sidecars_.any = !settings_.concepts.heads.empty() || inputs_.texts.from_stage;
  inputs_.labels = settings_.loss.positives == jobs::LossPositives::kLabel;
  if (inputs_.labels) require_labels(data);
  require_concepts(data, inputs_.concepts);
  if (settings_.concepts.sampling == jobs::ConceptSampling::kSquareRoot)
    sample_by_square_root(data, inputs_.concepts);
}

void ContrastiveObjective::open_stored() {
  models::DualEncoder& encoder = setup_.encoder;
  const auto& spec = encoder.spec();
  inputs_.stored_images = spec.image.frozen && setup_.data.stored_images();
  inputs_.stored_texts =
      spec.text.frozen && setup_.data.stored_texts() && (inputs_.texts.raw || inputs_.texts.own_caption >= 0);
  inputs_.feature_dropout = settings_.feature_dropout;
  inputs_.seed = static_cast<std::uint64_t>(settings_.seed);
  inputs_.device = setup_.device;
  const auto preprocess = setup_.encoder.image_preprocess();
  inputs_.normalization = {preprocess.mean, preprocess.std};
  if (!inputs_.stored_images) return;
  inputs_.image_mean_T = at::zeros({encoder.image_tower_width()}, at::kFloat);
  if (encoder.image_mean().defined()) {  // of the weights that it starts from
    inputs_.image_mean_T = encoder.image_mean().cpu();
  } else if (settings_.standardize_features) {
    const auto standardization = image_standardization(setup_.data);
    inputs_.image_mean_T = standardization.mean_T;
    encoder.set_image_standardization(standardization.mean_T, standardization.inverse_std_T);
  }
}

void ContrastiveObjective::ask(data::LoaderOptions& options) const {
  options.images = !inputs_.stored_images;
  ask_for_texts(inputs_.texts, setup_.data, options);
}

SlotInput ContrastiveObjective::input(data::SlotBatch& batch, std::int64_t step, std::int64_t slot,
                                      std::map<std::string, std::int64_t>& counts) const {
  std::map<std::string, std::int64_t> found;
  SlotInput input = pair_input(setup_.data, setup_.encoder, batch, inputs_, step, slot, found);
  for (const auto& [name, count] : found) counts["concepts." + name] += count;
  return input;
}

std::vector<std::string> ContrastiveObjective::parts() const {
  std::vector<std::string> names;
  if (inputs_.texts.raw) names.emplace_back("image_text");
  if (inputs_.texts.synthetic) names.emplace_back("image_caption");
  for (const auto& head : settings_.concepts.heads) names.push_back("concepts." + head.name);
  return names;
}

std::vector<std::string> ContrastiveObjective::signals() const {
  return pair_signals(inputs_.texts.raw, inputs_.texts.synthetic, settings_.loss.any_gate());
}

NamedTensors ContrastiveObjective::beside_encoder() {
  return heads_of(model_->state());
}

void ContrastiveObjective::resumed() {
  if (settings_.loss.gates.reset_h_on_resume) model_->start_gates_again();
}

void ContrastiveObjective::write(const io::Path& folder, const NamedTensors& best) {
  if (settings_.concepts.heads.empty()) return;
  const auto kept = heads_of(best);  // none in what was written before heads were kept
  models::save_heads(folder.string(),
                     saved_heads(settings_.concepts, kept.empty() ? beside_encoder() : kept));
}

}  // namespace trireme::worker::stages::train

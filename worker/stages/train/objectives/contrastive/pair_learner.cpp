#include "worker/stages/train/objectives/contrastive/pair_learner.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "worker/stages/train/step/mean_losses.h"

namespace trireme::worker::stages::train {
namespace {

std::vector<losses::SlotEmbeddings> embeddings_of(const std::vector<SlotInput>& own,
                                                  const std::vector<SlotOutput>& outputs,
                                                  const collective::Group& group) {
  std::vector<losses::SlotEmbeddings> embeddings(own.size());
  for (std::size_t i = 0; i < own.size(); ++i) {
    const auto& rows = outputs[i].rows_BD;
    embeddings[i].image_bD = on_wire(rows[0], group);
    for (std::size_t p = 1; p < rows.size(); ++p) embeddings[i].text_bD.push_back(on_wire(rows[p], group));
    embeddings[i].live_b = own[i].live_B;
    embeddings[i].label_b = own[i].label_B;
  }
  return embeddings;
}

at::Tensor diagonal(const at::Tensor& a_bD, const at::Tensor& b_bD) {
  return at::mul(a_bD.to(at::kFloat), b_bD.to(at::kFloat)).sum(1).cpu().to(at::kDouble);
}

std::vector<std::pair<std::string, double>> logged(const losses::GateStep& gates) {
  return {{"h_text_caption", gates.state.h_tc},  {"h_image_text", gates.state.h_xt},
          {"h_image_caption", gates.state.h_xc}, {"mean_sample", gates.mean_sample},
          {"mean_text", gates.mean_text},        {"mean_caption", gates.mean_caption}};
}

}  // namespace

std::vector<std::string> pair_signals(bool raw, bool synthetic, bool gated) {
  std::vector<std::string> names;
  if (raw) names.emplace_back("similarity.text");
  if (synthetic) names.emplace_back("similarity.caption");
  if (raw && synthetic) names.emplace_back("similarity.text_caption");
  if (gated)
    for (const char* weight : {"weight.sample", "weight.text", "weight.caption", "weight.text_pair"})
      names.emplace_back(weight);
  return names;
}

at::Tensor slot_signals(const losses::SlotEmbeddings& slot, const at::Tensor& gate_3b) {
  std::vector<at::Tensor> rows;
  for (const auto& text : slot.text_bD) rows.push_back(diagonal(slot.image_bD, text));
  if (slot.text_bD.size() == 2) rows.push_back(diagonal(slot.text_bD[0], slot.text_bD[1]));
  if (gate_3b.defined()) {
    for (std::int64_t k = 0; k < 3; ++k) rows.push_back(gate_3b[k]);
    rows.push_back(gate_3b[0] * gate_3b[1]);
  }
  return at::stack(rows);
}

PairLearner::PairLearner(PairLossOptions options)
    : options_(std::move(options)), gates_(options_.gates_at_start), next_gates_(gates_) {
  losses::check(options_.contrastive);
  if (options_.gates) losses::check(*options_.gates);
}

StepLoss PairLearner::loss(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                           const LossContext& context) {
  StepLoss result;
  auto embeddings = embeddings_of(own, outputs, context.group);
  std::vector<at::Tensor> gate_3b(own.size());
  if (options_.gates) {
    auto gates = losses::alip_gates(embeddings, context.slots, gates_, *options_.gates, context.group);
    for (std::size_t i = 0; i < own.size(); ++i) embeddings[i].weight_b = std::move(gates.weight_b[i]);
    gate_3b = gates.gate_3b;
    next_gates_ = gates.state;
    result.gates = logged(gates);
  }
  for (std::size_t i = 0; context.observe && i < own.size(); ++i)
    result.signals_Kb.push_back(slot_signals(embeddings[i], gate_3b[i]));
  const double parameter = temperature().item<double>();
  const auto bias = sigmoid_bias();
  const losses::ContrastivePoint point{.scale = options_.temperature.scale(parameter),
                                       .bias = bias.defined() ? bias.item<double>() : 0,
                                       .step = context.step};
  auto pairs = losses::contrastive(embeddings, context.slots, point, options_.contrastive, context.group,
                                   context.for_each);
  const auto heads = mean_losses(own, outputs, context.slots, options_.head_weights, context.group);
  result.value = pairs.loss + heads.weighted;
  result.logit_scale = std::log(point.scale);
  result.parts = pairs.pair_loss;
  result.parts.insert(result.parts.end(), heads.mean.begin(), heads.mean.end());
  result.live = pairs.live;
  result.too_few = pairs.skipped;
  if (result.too_few) return result;
  result.sum_slopes = heads.factor;
  for (auto& gradient : pairs.gradients) {
    SlotSlopes& slopes = result.slopes.emplace_back();
    slopes.rows_BD.push_back(std::move(gradient.image_bD));
    for (auto& text : gradient.text_bD) slopes.rows_BD.push_back(std::move(text));
    slopes.scalars.emplace_back(temperature(), options_.temperature.gradient(parameter, gradient.log_scale));
    if (bias.defined()) slopes.scalars.emplace_back(bias, gradient.bias);
  }
  return result;
}

void PairLearner::settle() {
  gates_ = next_gates_;
  if (!options_.temperature.learnt) return;
  const auto [least, most] = options_.temperature.bounds();
  temperature().clamp_(least, most);  // without a look at the device
}

NamedTensors PairLearner::state() const {
  return options_.gates ? losses::tensors_of(gates_) : NamedTensors{};
}

void PairLearner::load_state(const NamedTensors& state) {
  if (options_.gates) gates_ = next_gates_ = losses::gate_state_from(state);
}

}  // namespace trireme::worker::stages::train

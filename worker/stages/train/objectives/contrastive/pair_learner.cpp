#include "worker/stages/train/objectives/contrastive/pair_learner.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "worker/kernels/sent.h"
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
  return at::mul(a_bD.to(at::kFloat), b_bD.to(at::kFloat)).sum(1).to(at::kDouble);
}

constexpr const char* kGateNames[] = {"h_text_caption", "h_image_text", "h_image_caption",
                                      "mean_sample",    "mean_text",    "mean_caption"};
constexpr std::int64_t kGateNumbers = 6;

std::vector<std::pair<std::string, double>> logged(const double* numbers) {
  std::vector<std::pair<std::string, double>> gates;
  for (std::int64_t i = 0; i < kGateNumbers; ++i) gates.emplace_back(kGateNames[i], numbers[i]);
  return gates;
}

std::vector<std::pair<std::string, double>> logged(const losses::GateStep& gates) {
  const double numbers[] = {gates.state.h_tc,  gates.state.h_xt, gates.state.h_xc,
                            gates.mean_sample, gates.mean_text,  gates.mean_caption};
  return logged(numbers);
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
  const at::Device where = gate_3b.defined() ? gate_3b.device() : slot.image_bD.device();
  for (const auto& text : slot.text_bD) rows.push_back(diagonal(slot.image_bD, text).to(where));
  if (slot.text_bD.size() == 2) rows.push_back(diagonal(slot.text_bD[0], slot.text_bD[1]).to(where));
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
  if (context.later) return later(own, outputs, std::move(embeddings), context);
  std::vector<at::Tensor> gate_3b(own.size());
  if (options_.gates) {
    auto gates = losses::alip_gates(embeddings, context.slots, gates_, *options_.gates, context.group);
    for (std::size_t i = 0; i < own.size(); ++i) embeddings[i].weight_b = std::move(gates.weight_b[i]);
    gate_3b = gates.gate_3b;
    next_gates_ = gates.state;
    result.gates = logged(gates);
  }
  for (std::size_t i = 0; context.observe && i < own.size(); ++i)
    result.signals_Kb.push_back(slot_signals(embeddings[i], gate_3b[i]).cpu());
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
  result.sum_slopes_H = at::tensor(heads.factor, at::kDouble);
  for (auto& gradient : pairs.gradients) {
    SlotSlopes& slopes = result.slopes.emplace_back();
    slopes.rows_BD.push_back(std::move(gradient.image_bD));
    for (auto& text : gradient.text_bD) slopes.rows_BD.push_back(std::move(text));
    const auto number = [](double value) { return at::full({}, value, at::kDouble); };
    slopes.scalars.emplace_back(temperature(),
                                number(options_.temperature.gradient(parameter, gradient.log_scale)));
    if (bias.defined()) slopes.scalars.emplace_back(bias, number(gradient.bias));
  }
  return result;
}

// Weighs the embeddings on the device, where there are gates; the numbers to log.
std::vector<at::Tensor> PairLearner::gated(std::vector<losses::SlotEmbeddings>& embeddings,
                                           const LossContext& context, std::vector<at::Tensor>& gate_3b) {
  if (!options_.gates) return {};
  if (!gates_3_.defined())
    gates_3_ = kernels::sent_to(at::tensor({gates_.h_tc, gates_.h_xt, gates_.h_xc}, at::kDouble),
                                temperature().device());
  auto gates = losses::alip_gates_there(embeddings, context.slots, gates_3_, *options_.gates, context.group);
  for (std::size_t i = 0; i < embeddings.size(); ++i) embeddings[i].weight_b = std::move(gates.weight_b[i]);
  gate_3b = gates.gate_3b;
  next_gates_3_ = gates.h_3;
  return {gates.h_3, gates.mean_3};
}

StepLoss PairLearner::later(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                            std::vector<losses::SlotEmbeddings> embeddings, const LossContext& context) {
  const at::NoGradGuard no_grad;
  StepLoss result;
  std::vector<at::Tensor> gate_3b(own.size());
  const auto gate_numbers = gated(embeddings, context, gate_3b);
  for (std::size_t i = 0; context.observe && i < own.size(); ++i)
    result.signals_Kb.push_back(slot_signals(embeddings[i], gate_3b[i]));
  const auto& kind = options_.temperature;
  const bool sigma = kind.kind == losses::TemperatureKind::kSigma;
  const at::Tensor parameter = temperature().detach().to(at::kDouble);
  const at::Tensor scale = sigma ? parameter.reciprocal() : parameter.exp();
  const at::Tensor bias = sigmoid_bias();
  const losses::ContrastivePoint point{
      .scale = known_scale_,
      .bias = known_bias_,
      .step = context.step,
      .scale_there = scale,
      .bias_there = bias.defined() ? bias.detach().to(at::kDouble) : at::Tensor()};
  auto pairs = losses::contrastive(embeddings, context.slots, point, options_.contrastive, context.group,
                                   context.for_each);
  result.live = pairs.live;
  result.too_few = pairs.skipped;
  if (result.too_few) return result;
  at::Tensor value = pairs.pair_loss_p.sum(), part_losses = pairs.pair_loss_p;
  if (!options_.head_weights.empty()) {
    const auto heads = mean_losses_there(own, outputs, options_.head_weights, context.group);
    value = value + heads.weighted;
    part_losses = at::cat({part_losses, heads.mean_H});
    result.sum_slopes_H = heads.factor_H;
  }
  const at::Tensor known_bias = point.bias_there.defined() ? point.bias_there : at::zeros_like(scale);
  std::vector<at::Tensor> numbers{at::stack({value, scale.log(), known_bias}), part_losses};
  numbers.insert(numbers.end(), gate_numbers.begin(), gate_numbers.end());
  result.there.values = at::cat(numbers);
  result.there.read = [this, parts = part_losses.numel(), has_gates = options_.gates.has_value()](
                          const double* values, StepLoss& loss) {
    loss.logit_scale = values[1];
    loss.parts.assign(values + 3, values + 3 + parts);
    if (has_gates) loss.gates = logged(values + 3 + parts);
    known_scale_ = std::exp(values[1]);
    known_bias_ = values[2];
  };
  for (auto& gradient : pairs.gradients) {
    SlotSlopes& slopes = result.slopes.emplace_back();
    slopes.rows_BD.push_back(std::move(gradient.image_bD));
    for (auto& text : gradient.text_bD) slopes.rows_BD.push_back(std::move(text));
    if (kind.learnt)
      slopes.scalars.emplace_back(temperature(),
                                  sigma ? -gradient.shares_2[0] / parameter : gradient.shares_2[0]);
    if (bias.defined()) slopes.scalars.emplace_back(bias, gradient.shares_2[1]);
  }
  return result;
}

void PairLearner::settle(const at::Tensor& taken) {
  gates_ = next_gates_;
  if (next_gates_3_.defined()) gates_3_ = at::where(taken.gt(0), next_gates_3_, gates_3_);
  if (!options_.temperature.learnt) return;
  const auto [least, most] = options_.temperature.bounds();
  const at::Tensor parameter = temperature();
  if (!taken.defined())
    parameter.clamp_(least, most);
  else
    parameter.copy_(at::where(taken.gt(0), parameter.clamp(least, most), parameter));
}

losses::GateState PairLearner::gates() const {
  if (!gates_3_.defined()) return gates_;
  const at::Tensor on_host = gates_3_.cpu();
  const double* h = on_host.const_data_ptr<double>();
  return {h[0], h[1], h[2]};
}

void PairLearner::set_gates(const losses::GateState& state) {
  gates_ = next_gates_ = state;
  gates_3_ = next_gates_3_ = at::Tensor();
}

NamedTensors PairLearner::state() const {
  return options_.gates ? losses::tensors_of(gates()) : NamedTensors{};
}

void PairLearner::load_state(const NamedTensors& state) {
  if (options_.gates) set_gates(losses::gate_state_from(state));
  known_scale_ = known_bias_ = 0;
}

}  // namespace trireme::worker::stages::train

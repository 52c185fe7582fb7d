#include "worker/stages/train/training_step.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "worker/collective/slot_tree.h"
#include "worker/optim/gradient_norm.h"
#include "worker/stages/train/signals.h"

namespace trireme::worker::stages::train {
namespace {

// bf16 autocast of this thread. Weights are cast once per step: the process-wide cache of casts is shared by
// the slots' graphs (a cast saves nothing for its backward) and emptied when the weights change.
class Autocast {
 public:
  Autocast(bool on, at::DeviceType device) : on_(on), device_(device) {
    if (!on_) return;
    at::autocast::set_autocast_enabled(device_, true);
    at::autocast::set_autocast_dtype(device_, at::kBFloat16);
  }
  ~Autocast() {
    if (on_) at::autocast::set_autocast_enabled(device_, false);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool on_;
  at::DeviceType device_;
};

// The casts hold while the weights do: from the first forward to the last backward of an attempt. Emptied by
// the caller of the slot threads while none of them computes, also when one has thrown.
class CastsOfOneAttempt {
 public:
  explicit CastsOfOneAttempt(bool on) : on_(on) {}
  ~CastsOfOneAttempt() {
    if (on_) at::autocast::clear_cache();
  }
  CastsOfOneAttempt(const CastsOfOneAttempt&) = delete;
  CastsOfOneAttempt& operator=(const CastsOfOneAttempt&) = delete;

 private:
  bool on_;
};

std::int64_t count_numbers(const std::vector<at::Tensor>& leaves) {
  std::int64_t numbers = 0;
  for (const auto& leaf : leaves) numbers += leaf.numel();
  return numbers;
}

std::vector<at::Tensor> tensors_of(const NamedTensors& named) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : named) tensors.push_back(tensor);
  return tensors;
}

}  // namespace

TrainingStep::TrainingStep(TrainableModel& model, collective::Group& group, SlotPool& pool,
                           StepOptions options)
    : model_(model),
      group_(group),
      pool_(pool),
      options_(std::move(options)),
      parameters_(model.parameters()),
      leaves_(tensors_of(parameters_)),
      numbers_(count_numbers(leaves_) + model.statistics_numbers()),
      optimizer_(optim::make_optimizer(parameters_, options_.optimizer)),
      gates_(options_.gates_at_start) {
  if (options_.micro_batch > 0 && model.statistics_numbers() > 0)
    throw Error(ErrorKind::kInvalid, "micro_batch changes what batch norms see",
                "set the image tower's batch_norm.policy to stored, or use gradient_checkpointing instead");
  losses::check(options_.loss);
  if (options_.gates) losses::check(*options_.gates);
  if (options_.average_decay > 0)
    average_ =
        std::make_unique<optim::WeightAverage>(parameters_, options_.average_decay, options_.average_warm_up);
}

optim::ForEach TrainingStep::for_each() {
  return [this](std::int64_t n, const std::function<void(std::int64_t)>& body) { pool_.for_each(n, body); };
}

bool TrainingStep::chunked(const SlotInput& input) const {
  return options_.micro_batch > 0 && options_.micro_batch < input.live_B.size(0);
}

StepResult TrainingStep::run(const std::vector<SlotInput>& own, std::int64_t step, bool observe) {
  observe_ = observe;
  const optim::Rates rates = optim::rates(options_.schedule, step);
  StepResult result = attempt(own, step, rates);
  if (result.non_finite) result = attempt(own, step, rates);
  return result;
}

StepResult TrainingStep::attempt(const std::vector<SlotInput>& own, std::int64_t step,
                                 const optim::Rates& rates) {
  StepResult result;
  result.learning_rate = rates.learning_rate;
  const at::Tensor gradient = gradient_of(own, step, result);
  if (gradient.defined()) update(result, gradient, rates);
  return result;
}

at::Tensor TrainingStep::gradient_of(const std::vector<SlotInput>& own, std::int64_t step,
                                     StepResult& result) {
  const CastsOfOneAttempt casts(options_.bf16);
  const auto outputs = forward(own);
  if (!model_.pairs()) return gradient_without_pairs(own, outputs, result);
  auto embeddings = embeddings_of(own, outputs);
  if (options_.gates) {
    auto gates = losses::alip_gates(embeddings, options_.slots, gates_, *options_.gates, group_);
    for (std::size_t i = 0; i < own.size(); ++i) embeddings[i].weight_b = std::move(gates.weight_b[i]);
    gates.weight_b.clear();
    result.gates = gates;
  }
  for (std::size_t i = 0; observe_ && i < own.size(); ++i)
    result.signals_Kb.push_back(
        slot_signals(embeddings[i], result.gates ? result.gates->gate_3b[i] : at::Tensor()));
  const auto bias = model_.sigmoid_bias();
  const losses::ContrastivePoint point{
      .scale = options_.temperature.scale(model_.temperature().item<double>()),
      .bias = bias.defined() ? bias.item<double>() : 0,
      .step = step};
  const auto loss = losses::contrastive(embeddings, options_.slots, point, options_.loss, group_, for_each());
  const auto heads = head_losses(own, outputs, options_.slots, options_.head_weights, group_);
  result.logit_scale = std::log(point.scale);
  result.loss = loss.loss + heads.weighted;
  result.pair_loss = loss.pair_loss;
  result.head_loss = heads.mean;
  result.live = loss.live;
  result.too_few = loss.skipped;
  if (result.too_few) return {};
  result.non_finite = !std::isfinite(result.loss);
  return result.non_finite ? at::Tensor() : backward(own, outputs, loss, heads);
}

at::Tensor TrainingStep::gradient_without_pairs(const std::vector<SlotInput>& own,
                                                const std::vector<SlotOutput>& outputs, StepResult& result) {
  const auto heads = head_losses(own, outputs, options_.slots, options_.head_weights, group_);
  result.loss = heads.weighted;
  result.head_loss = heads.mean;
  result.live = heads.live;
  result.too_few = std::ranges::all_of(heads.factor, [](double factor) { return factor == 0; });
  result.non_finite = !std::isfinite(result.loss);
  if (result.too_few || result.non_finite) return {};
  losses::ContrastiveResult none;
  none.gradients.resize(own.size());
  return backward(own, outputs, none, heads);
}

std::vector<SlotOutput> TrainingStep::forward(const std::vector<SlotInput>& own) {
  std::vector<SlotOutput> outputs(own.size());
  const auto device = leaves_.front().device().type();
  pool_.for_each(static_cast<std::int64_t>(own.size()), [&](std::int64_t i) {
    const Autocast autocast(options_.bf16, device);
    const auto& input = own[static_cast<std::size_t>(i)];
    outputs[static_cast<std::size_t>(i)] = chunked(input) ? in_chunks(input) : model_.embed(input);
  });
  // Casts that were made without a graph would give the second pass none.
  if (options_.bf16 && chunked(own.front())) at::autocast::clear_cache();
  return outputs;
}

SlotOutput TrainingStep::in_chunks(const SlotInput& input) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> images;
  std::vector<std::vector<at::Tensor>> texts;
  SlotOutput whole;
  const auto rows = input.live_B.size(0);
  for (std::int64_t first = 0; first < rows; first += options_.micro_batch) {
    const auto part = model_.embed(rows_of(input, first, std::min(options_.micro_batch, rows - first)));
    if (part.image_BD.defined()) images.push_back(part.image_BD);
    if (part.head_count_H.defined())
      whole.head_count_H = first == 0 ? part.head_count_H : whole.head_count_H + part.head_count_H;
    texts.resize(part.text_BD.size());
    for (std::size_t p = 0; p < texts.size(); ++p) texts[p].push_back(part.text_BD[p]);
    if (!part.head_loss_H.defined()) continue;
    whole.head_loss_H = first == 0 ? part.head_loss_H : whole.head_loss_H + part.head_loss_H;
  }
  if (!images.empty()) whole.image_BD = at::cat(images);
  for (const auto& parts : texts) whole.text_BD.push_back(at::cat(parts));
  return whole;
}

std::vector<losses::SlotEmbeddings> TrainingStep::embeddings_of(
    const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs) const {
  std::vector<losses::SlotEmbeddings> embeddings(own.size());
  for (std::size_t i = 0; i < own.size(); ++i) {
    embeddings[i].image_bD = on_wire(outputs[i].image_BD);
    for (const auto& text : outputs[i].text_BD) embeddings[i].text_bD.push_back(on_wire(text));
    embeddings[i].live_b = own[i].live_B;
    embeddings[i].label_b = own[i].label_B;
  }
  return embeddings;
}

at::Tensor TrainingStep::backward(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                                  const losses::ContrastiveResult& loss, const HeadLosses& heads) {
  const auto range = collective::own_slots(options_.slots, group_.size(), group_.rank());
  collective::SlotAccumulator sums(options_.slots, range);
  pool_.for_each(range.size(), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    at::Tensor flat = free_buffer();
    slot_gradient(own[at], outputs[at], loss.gradients[at], heads, flat);
    set_scalars(loss.gradients[at], flat);
    if (outputs[at].statistics.defined()) statistics_of(flat).copy_(outputs[at].statistics);
    sums.add(range.first + i, on_wire(flat));
  });
  fault_point("train.before_reduce");
  const at::Tensor total = collective::reduce_slots(options_.slots, sums.take(), group_);
  return total.to(leaves_.front().device());
}

void TrainingStep::slot_gradient(const SlotInput& input, const SlotOutput& output,
                                 const losses::SlotGradient& gradient, const HeadLosses& heads,
                                 at::Tensor& flat) {
  if (!chunked(input)) return through(output, gradient, 0, heads, false, flat);
  const auto rows = input.live_B.size(0);
  for (std::int64_t first = 0; first < rows; first += options_.micro_batch) {
    const auto part = [&] {
      const Autocast autocast(options_.bf16, leaves_.front().device().type());
      return model_.embed(rows_of(input, first, std::min(options_.micro_batch, rows - first)));
    }();
    through(part, gradient, first, heads, first > 0, flat);
  }
}

void TrainingStep::through(const SlotOutput& output, const losses::SlotGradient& gradient, std::int64_t first,
                           const HeadLosses& heads, bool add, at::Tensor& flat) const {
  const auto rows = output.image_BD.defined() ? output.image_BD.size(0) : 0;
  std::vector<at::Tensor> ends, slopes;
  if (output.image_BD.defined()) {
    ends.push_back(output.image_BD);
    slopes.push_back(gradient.image_bD.narrow(0, first, rows).to(output.image_BD.device()));
  }
  for (std::size_t p = 0; p < output.text_BD.size(); ++p) {
    ends.push_back(output.text_BD[p]);
    slopes.push_back(gradient.text_bD[p].narrow(0, first, rows).to(output.text_BD[p].device()));
  }
  if (output.head_loss_H.defined()) {
    ends.push_back(output.head_loss_H);
    slopes.push_back(at::tensor(heads.factor, at::kDouble).to(output.head_loss_H.options()));
  }
  const auto gradients = torch::autograd::grad(ends, leaves_, slopes, /*retain_graph=*/false,
                                               /*create_graph=*/false, /*allow_unused=*/true);
  const at::NoGradGuard no_grad;
  std::int64_t at = 0;
  for (std::size_t p = 0; p < leaves_.size(); ++p) {
    at::Tensor part = flat.narrow(0, at, leaves_[p].numel()).view(leaves_[p].sizes());
    at += leaves_[p].numel();
    if (!gradients[p].defined()) {
      if (!add) part.zero_();
    } else if (add) {
      part.add_(gradients[p]);
    } else {
      part.copy_(gradients[p]);
    }
  }
}

// One that nobody else holds, or a new one: fresh memory of this size costs a page fault every 4 KiB.
at::Tensor TrainingStep::free_buffer() {
  const std::lock_guard lock(buffers_mutex_);
  for (const auto& buffer : buffers_)
    if (buffer.use_count() == 1 && buffer.storage().use_count() == 1) return buffer;
  return buffers_.emplace_back(at::empty({numbers_}, leaves_.front().options().requires_grad(false)));
}

// Temperature and bias meet the rows in the loss alone, which gives their gradient in closed form.
void TrainingStep::set_scalars(const losses::SlotGradient& gradient, at::Tensor& flat) const {
  const auto temperature = model_.temperature(), bias = model_.sigmoid_bias();
  std::int64_t at = 0;
  for (const auto& leaf : leaves_) {
    if (leaf.data_ptr() == temperature.data_ptr())
      flat.narrow(0, at, 1).fill_(
          options_.temperature.gradient(temperature.item<double>(), gradient.log_scale));
    else if (bias.defined() && leaf.data_ptr() == bias.data_ptr())
      flat.narrow(0, at, 1).fill_(gradient.bias);
    at += leaf.numel();
  }
}

// What the model keeps beside its parameters travels behind their gradients, through the same tree.
at::Tensor TrainingStep::statistics_of(const at::Tensor& flat) const {
  const auto count = model_.statistics_numbers();
  return flat.narrow(0, numbers_ - count, count);
}

void TrainingStep::update(StepResult& result, const at::Tensor& flat, const optim::Rates& rates) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  std::int64_t at = 0;
  for (const auto& leaf : leaves_) {
    gradients.push_back(flat.narrow(0, at, leaf.numel()).view(leaf.sizes()));
    at += leaf.numel();
  }
  result.gradient_norm = optim::gradient_norm(gradients, for_each());
  result.non_finite = !std::isfinite(result.gradient_norm);
  if (result.non_finite) return;
  optim::clip_gradients(gradients, result.gradient_norm, options_.gradient_clip_norm, for_each());
  optimizer_->step(gradients, rates, for_each());
  const auto temperature = model_.temperature();
  const double now = temperature.item<double>(), clamped = options_.temperature.clamp(now);
  if (options_.temperature.learnt && clamped != now) temperature.fill_(clamped);
  if (result.gates) gates_ = result.gates->state;
  if (average_) average_->update(for_each());
  if (model_.statistics_numbers() > 0) model_.absorb_statistics(statistics_of(flat));
  model_.updated();
}

at::Tensor TrainingStep::on_wire(const at::Tensor& tensor) const {
  const auto plain = tensor.detach();
  const bool host = std::strcmp(group_.backend(), "nccl") != 0;
  return host ? plain.cpu().contiguous() : plain.contiguous();
}

}  // namespace trireme::worker::stages::train

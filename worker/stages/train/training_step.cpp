#include "worker/stages/train/training_step.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "common/base/fault_point.h"
#include "worker/collective/slot_tree.h"
#include "worker/optim/gradient_norm.h"

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
      options_(options),
      parameters_(model.parameters()),
      leaves_(tensors_of(parameters_)),
      numbers_(count_numbers(leaves_)),
      optimizer_(parameters_, options.adamw) {}

StepResult TrainingStep::run(const std::vector<SlotInput>& own, std::int64_t step) {
  const double rate = optim::learning_rate(options_.schedule, step);
  StepResult result = attempt(own, step, rate);
  if (result.non_finite) result = attempt(own, step, rate);
  return result;
}

StepResult TrainingStep::attempt(const std::vector<SlotInput>& own, std::int64_t step, double learning_rate) {
  StepResult result;
  result.learning_rate = learning_rate;
  const at::Tensor gradient = gradient_of(own, step, result);
  if (gradient.defined()) update(result, gradient);
  return result;
}

at::Tensor TrainingStep::gradient_of(const std::vector<SlotInput>& own, std::int64_t step,
                                     StepResult& result) {
  const CastsOfOneAttempt casts(options_.bf16);
  const auto outputs = forward(own);
  std::vector<losses::SlotEmbeddings> embeddings;
  for (std::size_t i = 0; i < own.size(); ++i)
    embeddings.push_back({.image_bD = on_wire(outputs[i].image_BD),
                          .text_bD = {on_wire(outputs[i].text_BD)},
                          .live_b = own[i].live_B});
  result.logit_scale = model_.logit_scale().item<double>();
  const losses::ContrastivePoint point{.scale = std::exp(result.logit_scale), .step = step};
  const auto loss = losses::contrastive(
      embeddings, options_.slots, point, {}, group_,
      [this](std::int64_t n, const std::function<void(std::int64_t)>& body) { pool_.for_each(n, body); });
  result.loss = loss.loss;
  result.live = loss.live;
  result.too_few = loss.skipped;
  if (result.too_few) return {};
  result.non_finite = !std::isfinite(result.loss);
  return result.non_finite ? at::Tensor() : backward(outputs, loss);
}

std::vector<SlotOutput> TrainingStep::forward(const std::vector<SlotInput>& own) {
  std::vector<SlotOutput> outputs(own.size());
  const auto device = leaves_.front().device().type();
  pool_.for_each(static_cast<std::int64_t>(own.size()), [&](std::int64_t i) {
    const Autocast autocast(options_.bf16, device);
    outputs[static_cast<std::size_t>(i)] = model_.embed(own[static_cast<std::size_t>(i)]);
  });
  return outputs;
}

at::Tensor TrainingStep::backward(const std::vector<SlotOutput>& outputs,
                                  const losses::ContrastiveResult& loss) {
  const auto own = collective::own_slots(options_.slots, group_.size(), group_.rank());
  collective::SlotAccumulator sums(options_.slots, own);
  pool_.for_each(own.size(), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    const auto& output = outputs[at];
    const auto& gradient = loss.gradients[at];
    const auto gradients = torch::autograd::grad(
        {output.image_BD, output.text_BD}, leaves_,
        {gradient.image_bD.to(output.image_BD.device()), gradient.text_bD[0].to(output.text_BD.device())},
        /*retain_graph=*/false, /*create_graph=*/false, /*allow_unused=*/true);
    at::Tensor flat = free_buffer();
    flatten(gradients, gradient.log_scale, flat);
    sums.add(own.first + i, on_wire(flat));
  });
  fault_point("train.before_reduce");
  const at::Tensor total = collective::reduce_slots(options_.slots, sums.take(), group_);
  return total.to(leaves_.front().device());
}

// One that nobody else holds, or a new one: fresh memory of this size costs a page fault every 4 KiB.
at::Tensor TrainingStep::free_buffer() {
  const std::lock_guard lock(buffers_mutex_);
  for (const auto& buffer : buffers_)
    if (buffer.use_count() == 1 && buffer.storage().use_count() == 1) return buffer;
  return buffers_.emplace_back(at::empty({numbers_}, leaves_.front().options().requires_grad(false)));
}

void TrainingStep::flatten(const std::vector<at::Tensor>& gradients, double logit_scale,
                           at::Tensor& flat) const {
  const at::NoGradGuard no_grad;
  const auto temperature = model_.logit_scale();
  std::int64_t at = 0;
  for (std::size_t p = 0; p < leaves_.size(); ++p) {
    at::Tensor part = flat.narrow(0, at, leaves_[p].numel());
    at += leaves_[p].numel();
    if (leaves_[p].data_ptr() == temperature.data_ptr())
      part.fill_(logit_scale);
    else if (gradients[p].defined())
      part.view(leaves_[p].sizes()).copy_(gradients[p]);
    else
      part.zero_();
  }
}

void TrainingStep::update(StepResult& result, const at::Tensor& flat) {
  const at::NoGradGuard no_grad;
  const optim::ForEach for_each = [this](std::int64_t n, const std::function<void(std::int64_t)>& body) {
    pool_.for_each(n, body);
  };
  std::vector<at::Tensor> gradients;
  std::int64_t at = 0;
  for (const auto& leaf : leaves_) {
    gradients.push_back(flat.narrow(0, at, leaf.numel()).view(leaf.sizes()));
    at += leaf.numel();
  }
  result.gradient_norm = optim::gradient_norm(gradients, for_each);
  result.non_finite = !std::isfinite(result.gradient_norm);
  if (result.non_finite) return;
  optim::clip_gradients(gradients, result.gradient_norm, options_.gradient_clip_norm, for_each);
  optimizer_.step(gradients, result.learning_rate, for_each);
  model_.logit_scale().clamp_max_(model_.logit_scale_max());
}

at::Tensor TrainingStep::on_wire(const at::Tensor& tensor) const {
  const auto plain = tensor.detach();
  const bool host = std::strcmp(group_.backend(), "nccl") != 0;
  return host ? plain.cpu().contiguous() : plain.contiguous();
}

}  // namespace trireme::worker::stages::train

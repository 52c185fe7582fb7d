#include "worker/stages/train/step/training_step.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "common/base/error.h"
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

// Armed with the action `error`: what one of this rank's slots has computed is not a number.
void not_finite_point(std::vector<SlotOutput>& outputs) {
  if (!fault_due("train.not_finite")) return;
  for (auto& rows : outputs.front().rows_BD) rows = rows * std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

TrainingStep::TrainingStep(Learner& learner, collective::Group& group, SlotPool& pool, StepOptions options)
    : learner_(learner),
      group_(group),
      pool_(pool),
      options_(std::move(options)),
      parameters_(learner.parameters()),
      leaves_(tensors_of(parameters_)),
      numbers_(count_numbers(leaves_) + learner.statistics_numbers()),
      optimizer_(optim::make_optimizer(parameters_, options_.optimizer)) {
  if (options_.micro_batch > 0 && learner.statistics_numbers() > 0)
    throw Error(ErrorKind::kInvalid, "micro_batch changes what batch norms see",
                "set the image tower's batch_norm.policy to stored, or use gradient_checkpointing instead");
  if (options_.graphs && options_.micro_batch == 0 && learner.repeats())
    replay_ = std::make_unique<SlotReplay>(
        collective::own_slots(options_.slots, group.size(), group.rank()).size());
  if (options_.average_decay > 0)
    average_ =
        std::make_unique<optim::WeightAverage>(parameters_, options_.average_decay, options_.average_warm_up);
  later_ = options_.read_later.value_or(!leaves_.front().is_cpu()) && can_read_later();
}

// A gang through the host copies to it all the way.
bool TrainingStep::can_read_later() const {
  return leaves_.front().is_cpu() || group_.sums_natively();
}

optim::ForEach TrainingStep::for_each() {
  return [this](std::int64_t n, const std::function<void(std::int64_t)>& body) { pool_.for_each(n, body); };
}

bool TrainingStep::chunked(const SlotInput& input) const {
  return options_.micro_batch > 0 && options_.micro_batch < input.live_B.size(0);
}

StepResult TrainingStep::launch(const std::vector<SlotInput>& own, std::int64_t step, bool observe) {
  const optim::Rates rates = optim::rates(options_.schedule, step);
  const LossContext context{group_, options_.slots, step, observe, for_each(), later_};
  StepResult result = attempt(own, context, rates);
  if (!result.non_finite) return result;
  result = attempt(own, context, rates);
  result.only_once = !result.non_finite;
  return result;
}

void TrainingStep::read(StepResult& launched) {
  const auto numbers = std::exchange(launched.numbers, nullptr);
  if (numbers == nullptr) return;
  const at::Tensor& read = numbers->arrived();  // the loss's, then the gradient's norm
  group_.confirm();
  const double* values = read.const_data_ptr<double>();
  StepLoss& loss = launched.loss;
  loss.value = values[0];
  loss.there.read(values, loss);
  loss.there = {};
  launched.gradient_norm = values[read.numel() - 1];
  for (auto& signals : launched.signals) loss.signals_Kb.push_back(signals.arrived());
  launched.signals.clear();
  launched.non_finite = !std::isfinite(loss.value) || !std::isfinite(launched.gradient_norm);
  if (!launched.non_finite) return;
  optimizer_->not_taken();
  if (average_) average_->not_taken();
}

StepResult TrainingStep::attempt(const std::vector<SlotInput>& own, const LossContext& context,
                                 const optim::Rates& rates) {
  StepResult result;
  result.learning_rate = rates.learning_rate;
  at::Tensor gradient;
  {
    const CastsOfOneAttempt casts(options_.bf16);
    auto outputs = forward(own);
    not_finite_point(outputs);
    result.loss = learner_.loss(own, outputs, context);
    group_.confirm();
    result.non_finite = !result.loss.too_few && !std::isfinite(result.loss.value);
    if (!result.skipped()) gradient = backward(own, outputs, result.loss);
    result.loss.slopes.clear();
  }
  if (!gradient.defined()) return result;
  if (later_)
    update_there(result, gradient, rates);
  else
    update(result, gradient, rates);
  return result;
}

std::vector<SlotOutput> TrainingStep::forward(const std::vector<SlotInput>& own) {
  std::vector<SlotOutput> outputs(own.size());
  const auto device = leaves_.front().device().type();
  pool_.for_each(static_cast<std::int64_t>(own.size()), [&](std::int64_t i) {
    const Autocast autocast(options_.bf16, device);
    const auto& input = own[static_cast<std::size_t>(i)];
    outputs[static_cast<std::size_t>(i)] =
        chunked(input) ? in_chunks(input)
        : replay_ != nullptr
            ? replay_->forward(i, learner_.padded(input),
                               [this](const SlotInput& rows) { return learner_.forward(rows); })
            : learner_.forward(input);
  });
  // Casts that were made without a graph would give the second pass none.
  if (options_.bf16 && chunked(own.front())) at::autocast::clear_cache();
  return outputs;
}

SlotOutput TrainingStep::in_chunks(const SlotInput& input) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<at::Tensor>> parts;
  SlotOutput whole;
  const auto add = [](at::Tensor& sum, const at::Tensor& part) {
    if (part.defined()) sum = sum.defined() ? sum + part : part;
  };
  const auto rows = input.live_B.size(0);
  for (std::int64_t first = 0; first < rows; first += options_.micro_batch) {
    const auto part = learner_.forward(rows_of(input, first, std::min(options_.micro_batch, rows - first)));
    parts.resize(part.rows_BD.size());
    for (std::size_t p = 0; p < parts.size(); ++p) parts[p].push_back(part.rows_BD[p]);
    add(whole.sum_H, part.sum_H);
    add(whole.count_H, part.count_H);
  }
  for (const auto& one : parts) whole.rows_BD.push_back(at::cat(one));
  return whole;
}

at::Tensor TrainingStep::backward(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                                  const StepLoss& loss) {
  const auto range = collective::own_slots(options_.slots, group_.size(), group_.rank());
  collective::SlotAccumulator sums(options_.slots, range);
  pool_.for_each(range.size(), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    at::Tensor flat = free_buffer();
    slot_gradient(i, own[at], outputs[at], loss.slopes[at], loss.sum_slopes_H, flat);
    set_scalars(loss.slopes[at], flat);
    if (outputs[at].statistics.defined())
      statistics_of(flat).copy_(kernels::sent_to(outputs[at].statistics, flat.device()));
    sums.add(range.first + i, on_wire(flat, group_));
  });
  fault_point("train.before_reduce");
  const at::Tensor total = collective::reduce_slots(options_.slots, sums.take(), group_);
  return total.to(leaves_.front().device());
}

void TrainingStep::slot_gradient(std::int64_t slot, const SlotInput& input, const SlotOutput& output,
                                 const SlotSlopes& slopes, const at::Tensor& sum_slopes_H, at::Tensor& flat) {
  if (replay_ != nullptr)
    return replay_->backward(
        slot, output, slopes,
        [this, sum_slopes_H](const SlotOutput& rows, const SlotSlopes& at_rows, bool keep, at::Tensor& into) {
          through(rows, at_rows, 0, sum_slopes_H, false, into, keep);
        },
        flat);
  if (!chunked(input)) return through(output, slopes, 0, sum_slopes_H, false, flat);
  const auto rows = input.live_B.size(0);
  for (std::int64_t first = 0; first < rows; first += options_.micro_batch) {
    const auto part = [&] {
      const Autocast autocast(options_.bf16, leaves_.front().device().type());
      return learner_.forward(rows_of(input, first, std::min(options_.micro_batch, rows - first)));
    }();
    through(part, slopes, first, sum_slopes_H, first > 0, flat);
  }
}

void TrainingStep::through(const SlotOutput& output, const SlotSlopes& slopes, std::int64_t first,
                           const at::Tensor& sum_slopes_H, bool add, at::Tensor& flat, bool keep) const {
  std::vector<at::Tensor> ends, at_ends;
  for (std::size_t p = 0; p < output.rows_BD.size(); ++p) {
    const at::Tensor& end = ends.emplace_back(output.rows_BD[p]);
    at_ends.push_back(slopes.rows_BD[p].narrow(0, first, end.size(0)).to(end.device()));
  }
  if (output.sum_H.defined()) {
    ends.push_back(output.sum_H);
    at_ends.push_back(sum_slopes_H.to(output.sum_H.options()));
  }
  const auto gradients = torch::autograd::grad(ends, leaves_, at_ends, /*retain_graph=*/keep,
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

void TrainingStep::set_scalars(const SlotSlopes& slopes, at::Tensor& flat) const {
  std::int64_t at = 0;
  for (const auto& leaf : leaves_) {
    for (const auto& [scalar, slope] : slopes.scalars)
      if (leaf.data_ptr() == scalar.data_ptr()) {
        if (slope.is_cpu())
          flat.narrow(0, at, 1).fill_(slope.item<double>());
        else
          flat.narrow(0, at, 1).copy_(slope);
      }
    at += leaf.numel();
  }
}

// What the learner keeps beside its parameters travels behind their gradients, through the same tree.
at::Tensor TrainingStep::statistics_of(const at::Tensor& flat) const {
  const auto count = learner_.statistics_numbers();
  return flat.narrow(0, numbers_ - count, count);
}

std::vector<at::Tensor> TrainingStep::gradients_of(const at::Tensor& flat) const {
  std::vector<at::Tensor> gradients;
  std::int64_t at = 0;
  for (const auto& leaf : leaves_) {
    gradients.push_back(flat.narrow(0, at, leaf.numel()).view(leaf.sizes()));
    at += leaf.numel();
  }
  return gradients;
}

// Whether the step is taken is a number of the device, and what becomes of the weights follows it.
void TrainingStep::update_there(StepResult& result, const at::Tensor& flat, const optim::Rates& rates) {
  const at::NoGradGuard no_grad;
  const auto gradients = gradients_of(flat);
  const at::Tensor norm = optim::gradient_norm_there(gradients);
  at::Tensor& numbers = result.loss.there.values;
  const at::Tensor taken = at::isfinite(norm).logical_and(at::isfinite(numbers[0])).to(at::kDouble);
  optim::clip_gradients_there(gradients, norm, options_.gradient_clip_norm);
  optimizer_->step(gradients, rates, for_each(), taken);
  learner_.settle(taken);
  if (average_) average_->update(for_each(), taken);
  if (learner_.statistics_numbers() > 0) {
    const at::Tensor seen = statistics_of(flat);
    learner_.absorb_statistics(at::where(taken.gt(0), seen, at::zeros_like(seen)));
  }
  learner_.updated();
  for (const auto& signals : std::exchange(result.loss.signals_Kb, {})) result.signals.emplace_back(signals);
  result.numbers =
      std::make_shared<kernels::Returning>(at::cat({std::exchange(numbers, {}), norm.view({1})}));
}

void TrainingStep::update(StepResult& result, const at::Tensor& flat, const optim::Rates& rates) {
  const at::NoGradGuard no_grad;
  auto gradients = gradients_of(flat);
  result.gradient_norm = optim::gradient_norm(gradients, for_each());
  group_.confirm();  // before anything of it reaches the weights
  result.non_finite = !std::isfinite(result.gradient_norm);
  if (result.non_finite) return;
  optim::clip_gradients(gradients, result.gradient_norm, options_.gradient_clip_norm, for_each());
  optimizer_->step(gradients, rates, for_each());
  learner_.settle({});
  if (average_) average_->update(for_each());
  if (learner_.statistics_numbers() > 0) learner_.absorb_statistics(statistics_of(flat));
  learner_.updated();
}

}  // namespace trireme::worker::stages::train

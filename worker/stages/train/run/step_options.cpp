#include "worker/stages/train/run/step_options.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "common/base/error.h"

namespace trireme::worker::stages::train {
namespace {

optim::Shape shape_of(jobs::RateSchedule schedule) {
  switch (schedule) {
    case jobs::RateSchedule::kCosine:
      return optim::Shape::kCosine;
    case jobs::RateSchedule::kLinear:
      return optim::Shape::kLinear;
    case jobs::RateSchedule::kConstant:
      return optim::Shape::kConstant;
    case jobs::RateSchedule::kOneCycle:
      return optim::Shape::kOneCycle;
    case jobs::RateSchedule::kStep:
      return optim::Shape::kStep;
    case jobs::RateSchedule::kExponential:
      return optim::Shape::kExponential;
  }
  return optim::Shape::kConstant;
}

optim::Schedule schedule_of(const jobs::OptimizerSpec& spec, std::int64_t total_steps) {
  optim::Schedule schedule;
  schedule.peak = spec.learning_rate;
  schedule.warmup_steps = spec.warmup_steps;
  schedule.total_steps = total_steps;
  schedule.shape = shape_of(spec.schedule);
  schedule.decay_steps = spec.decay_steps.value_or(1);
  schedule.decay_factor = spec.decay_factor.value_or(1);
  schedule.beta1 = spec.beta1;
  const auto& cycle = spec.one_cycle;
  schedule.one_cycle = {cycle.rise,        cycle.start_divisor, cycle.end_divisor,
                        cycle.cycle_beta1, cycle.beta1_low,     cycle.beta1_high};
  return schedule;
}

optim::OptimizerOptions optimizer_of(const jobs::TrainSettings& settings) {
  const jobs::OptimizerSpec& spec = settings.optimizer;
  optim::OptimizerOptions options{spec.kind == jobs::OptimizerKind::kLamb, spec.beta2, spec.epsilon, {}};
  if (spec.kind == jobs::OptimizerKind::kSgd) options.momentum = spec.momentum.value_or(0.9);
  options.groups.weight_decay = spec.weight_decay;
  options.groups.decay_all = spec.decay_on == jobs::DecayOn::kAll;
  options.groups.layer_decay = spec.layer_decay.value_or(1);
  if (settings.classification) {
    options.groups.first = "head.";
    options.groups.late_updates = settings.classification->head_steps;
  }
  for (const auto& group : spec.groups)
    options.groups.rules.push_back(
        {group.names, group.learning_rate_factor, group.weight_decay_factor, group.layer_adaptation});
  return options;
}

// Where it is asked for: no GPU has judged these graphs yet (docs/gpu.md).
bool graphs_wanted() {
  const char* given = std::getenv("TRIREME_TRAINING_GRAPHS");
  if (given == nullptr || *given == 0) return false;
  const std::string_view word(given);
  if (word != "1" && word != "0")
    throw Error(ErrorKind::kUsage, std::string("TRIREME_TRAINING_GRAPHS is '") + given + "'", "use 1 or 0");
  return word == "1";
}

// Steps are read later on a GPU; `now` and `later` say so anywhere (docs/gpu.md).
std::optional<bool> read_later_wanted() {
  const char* given = std::getenv("TRIREME_STEP_READS");
  if (given == nullptr || *given == 0) return std::nullopt;
  const std::string_view word(given);
  if (word != "now" && word != "later")
    throw Error(ErrorKind::kUsage, std::string("TRIREME_STEP_READS is '") + given + "'", "use now or later");
  return word == "later";
}

}  // namespace

StepOptions step_options(const jobs::TrainSettings& settings, std::int64_t total_steps) {
  return {.slots = settings.logical_slots,
          .bf16 = settings.precision == jobs::Precision::kBf16,
          .micro_batch = settings.micro_batch,
          .gradient_clip_norm = settings.optimizer.gradient_clip_norm,
          .schedule = schedule_of(settings.optimizer, total_steps),
          .optimizer = optimizer_of(settings),
          .average_decay = settings.average.decay,
          .average_warm_up = settings.average.warm_up,
          .graphs = graphs_wanted(),
          .read_later = read_later_wanted()};
}

StepRow row_of(const StepResult& done, const std::vector<std::string>& part_names) {
  StepRow row{.live = done.loss.live,
              .loss = done.loss.value,
              .learning_rate = done.learning_rate,
              .logit_scale = done.loss.logit_scale,
              .gradient_norm = done.gradient_norm,
              .skipped = done.skipped(),
              .non_finite = done.non_finite,
              .gates = done.loss.gates};
  if (part_names.size() > 1)  // else it is the loss
    for (std::size_t i = 0; i < std::min(done.loss.parts.size(), part_names.size()); ++i)
      row.parts.emplace_back(part_names[i], done.loss.parts[i]);
  return row;
}

}  // namespace trireme::worker::stages::train

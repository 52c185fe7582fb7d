// How training turns gradients into weights, and what it does when they are not finite.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/specification/json/fields.h"

namespace trireme::jobs {

// Parameters whose names match `names` ('*': any run of characters) are treated apart; the first rule that
// matches holds. A rule that matches none fails the stage.
struct ParameterGroupSpec {
  std::string names;
  double learning_rate_factor = 1, weight_decay_factor = 1;  // DiHT's heads: 10 and 0.01 (METHODS 2.3)
  bool layer_adaptation = true;                              // LAMB's trust ratio

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("names", names,
            {.help = "parameter names, as in model.safetensors; * is any run of characters",
             .least = 1,
             .most = 256,
             .required = true});
    v.field("learning_rate_factor", learning_rate_factor,
            {.help = "times the learning rate", .least = 0, .most = 1000});
    v.field("weight_decay_factor", weight_decay_factor,
            {.help = "times the weight decay", .least = 0, .most = 1000});
    v.field("layer_adaptation", layer_adaptation, {.help = "LAMB: scale by the trust ratio"});
  }
};

// schedule "one_cycle" (METHODS 1.6, 10.5): torch's OneCycleLR with the values ALIP uses.
struct OneCycleSpec {
  double rise = 0.1;  // share of the steps
  double start_divisor = 25, end_divisor = 1e4;
  bool cycle_beta1 = true;
  double beta1_low = 0.85, beta1_high = 0.95;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("rise", rise, {.help = "share of the steps that goes up", .least = 0, .most = 1});
    v.field("start_divisor", start_divisor,
            {.help = "the first rate is learning_rate over this", .least = 1, .most = 1e9});
    v.field("end_divisor", end_divisor,
            {.help = "the last rate is the first over this", .least = 1, .most = 1e12});
    v.field("cycle_beta1", cycle_beta1, {.help = "beta1 high, low, high instead of optimizer.beta1"});
    v.field("beta1_low", beta1_low,
            {.help = "beta1 at the peak",
             .least = 0,
             .most = 0.999999,
             .unread = unless(cycle_beta1, "cycle_beta1 is off")});
    v.field("beta1_high", beta1_high,
            {.help = "beta1 at both ends",
             .least = 0,
             .most = 0.999999,
             .unread = unless(cycle_beta1, "cycle_beta1 is off")});
  }
};

enum class OptimizerKind { kAdamW, kLamb, kSgd };
constexpr std::array<std::string_view, 3> names_of(OptimizerKind) {
  return {"adamw", "lamb", "sgd"};
}
enum class DecayOn { kMatrices, kAll };
constexpr std::array<std::string_view, 2> names_of(DecayOn) {
  return {"matrices", "all"};
}
// After the warm-up: cosine or linear to 0, or constant; kOneCycle has none.
enum class RateSchedule { kCosine, kLinear, kConstant, kOneCycle, kStep, kExponential };
constexpr std::array<std::string_view, 6> names_of(RateSchedule) {
  return {"cosine", "linear", "constant", "one_cycle", "step", "exponential"};
}

struct OptimizerSpec {
  OptimizerKind kind =
      OptimizerKind::kAdamW;  // kLamb: ALIGN, its paper has beta2 .999; kSgd: its fine-tuning
  double learning_rate = 5e-4;
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-6;
  double weight_decay = 0.2;
  DecayOn decay_on = DecayOn::kMatrices;  // gains, biases and the temperature are exempt; kAll: ALIP
  std::vector<ParameterGroupSpec> groups;
  double gradient_clip_norm = 0;  // 0: off; the norm is over the global gradient
  std::int64_t warmup_steps = 0;  // linear from 0
  RateSchedule schedule = RateSchedule::kCosine;
  OneCycleSpec one_cycle;
  std::optional<double> momentum;           // sgd: 0.9
  std::optional<std::int64_t> decay_steps;  // schedules "step" and "exponential"
  std::optional<double> decay_factor;
  std::optional<double> layer_decay;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("kind", kind,
            {.help = "rule of the update; sgd is torch's, with momentum, its weight decay is a part of the "
                     "gradient"});
    v.field("learning_rate", learning_rate, {.help = "peak learning rate", .least = 0, .most = 100});
    v.field("beta1", beta1,
            {.help = "decay of the first moment",
             .least = 0,
             .most = 0.999999,
             .unread = unless(schedule != RateSchedule::kOneCycle || !one_cycle.cycle_beta1,
                              "one_cycle moves it between beta1_low and beta1_high")});
    v.field("beta2", beta2,
            {.help = "decay of the second moment",
             .least = 0,
             .most = 0.999999,
             .unread = unless(kind != OptimizerKind::kSgd, "sgd has no second moment")});
    v.field("epsilon", epsilon,
            {.help = "added to the root of the second moment",
             .least = 1e-12,
             .most = 1,
             .unread = unless(kind != OptimizerKind::kSgd, "sgd has no second moment")});
    v.field("weight_decay", weight_decay, {.help = "decoupled weight decay", .least = 0, .most = 10});
    v.field("decay_on", decay_on,
            {.help = "matrices: gains, biases and the temperature are exempt; all: every parameter"});
    v.field("groups", groups, {.help = "parameters treated apart", .most = 64});
    v.field("gradient_clip_norm", gradient_clip_norm, {.help = "0: off", .least = 0, .most = 1e6});
    v.field("warmup_steps", warmup_steps, {.help = "linear warm-up", .least = 0, .most = 1e9});
    v.field(
        "schedule", schedule,
        {.help = "learning rate after the warm-up; one_cycle has none; step and exponential multiply it by "
                 "decay_factor every decay_steps, at once or evenly"});
    v.field("one_cycle", one_cycle,
            {.help = "shape of schedule one_cycle",
             .unread = unless(schedule == RateSchedule::kOneCycle, "schedule is not one_cycle")});
    visit_decays(v);
  }

 private:
  template <class Visitor>
  void visit_decays(Visitor& v) {
    const bool decays = schedule == RateSchedule::kStep || schedule == RateSchedule::kExponential;
    v.field("momentum", momentum,
            {.help = "sgd: null means 0.9",
             .least = 0,
             .most = 0.999999,
             .quiet = true,
             .unread = unless(kind == OptimizerKind::kSgd, "only sgd has it")});
    v.field("decay_steps", decay_steps,
            {.help = "step, exponential: the steps of one decay",
             .least = 1,
             .most = 1e9,
             .quiet = true,
             .unread = unless(decays, "schedule is neither step nor exponential")});
    v.field("decay_factor", decay_factor,
            {.help = "step, exponential: times the rate (ALIGN's fine-tuning: 0.2)",
             .least = 1e-6,
             .most = 1,
             .quiet = true,
             .unread = unless(decays, "schedule is neither step nor exponential")});
    v.field("layer_decay", layer_decay,
            {.help = "the rate of a block is this times that of the next one above it, embeddings below the "
                     "first; projections and heads have the whole",
             .least = 0.01,
             .most = 1,
             .quiet = true});
  }
};

// The exponential moving average of the weights. Where it is on, it is what is evaluated and what the stage
// leaves as its result.
struct WeightAverageSpec {
  double decay = 0;  // 0: off
  bool warm_up = true;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("decay", decay,
            {.help = "0: off; 0.999 averages over about 1000 steps", .least = 0, .most = 0.999999});
    v.field("warm_up", warm_up,
            {.help = "decay at most (1+k)/(10+k) at update k", .unread = unless(decay > 0, "decay is 0")});
  }
};

// Leave the batch out; fail; or the weights go back to the last committed checkpoint, and the batches since
// are left out.
enum class OnNonFinite { kSkip, kStop, kRollback };
constexpr std::array<std::string_view, 3> names_of(OnNonFinite) {
  return {"skip", "stop", "rollback"};
}

// What to do when loss or gradient of a step are not finite, also on a second try. Every such step is counted
// and nothing is updated.
struct GuardSpec {
  OnNonFinite on_non_finite = OnNonFinite::kSkip;
  std::int64_t most_in_a_row = 3;   // skip: as many in a row fail the stage
  std::int64_t most_rollbacks = 3;  // rollback: one more fails the stage

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("on_non_finite", on_non_finite,
            {.help = "leave the batch out, fail, or go back to the last committed checkpoint"});
    v.field("most_in_a_row", most_in_a_row,
            {.help = "skip: so many such steps in a row fail the stage",
             .least = 1,
             .most = 1e6,
             .unread = unless(on_non_finite == OnNonFinite::kSkip, "on_non_finite is not skip")});
    v.field("most_rollbacks", most_rollbacks,
            {.help = "rollback: one more than this fails the stage",
             .least = 1,
             .most = 1e6,
             .unread = unless(on_non_finite == OnNonFinite::kRollback, "on_non_finite is not rollback")});
  }
};

}  // namespace trireme::jobs

// One step of training over a gang, contrastive or, for a model without pairs, of its head losses alone
// (METHODS 8 scheme B, RELIABILITY 8.6): forward of own slots, their graphs kept; the exact loss over the
// global batch; backward slot by slot into one flat float32 vector per slot; the fixed tree over all slots;
// the same clipping and update on every rank. With a pool of one-thread workers the weights have the same
// bits for any number of ranks that divides the slots.
//
// With micro_batch, embeddings are computed without graphs, and each chunk of rows once more with its graph
// when the loss has given its gradient: one chunk's graph in memory, the same gradients (Gao et al., 2021).
// What a model draws at random is a function of the row (TrainableModel::embed), and batch norms use their
// stored statistics (kInvalid otherwise), so both passes and every size of chunk see the same numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "worker/collective/group.h"
#include "worker/losses/alip_gates.h"
#include "worker/losses/contrastive.h"
#include "worker/losses/temperature.h"
#include "worker/optim/optimizer.h"
#include "worker/optim/schedule.h"
#include "worker/optim/weight_average.h"
#include "worker/stages/train/head_losses.h"
#include "worker/stages/train/slot_pool.h"
#include "worker/stages/train/trainable_model.h"

namespace trireme::worker::stages::train {

struct StepOptions {
  std::int64_t slots = 1;
  bool bf16 = false;             // autocast of forward and backward
  std::int64_t micro_batch = 0;  // rows of a slot at once; 0: all
  losses::ContrastiveOptions loss;
  losses::Temperature temperature;
  std::optional<losses::GateOptions> gates;  // the model then gives raw texts and synthetic captions
  losses::GateState gates_at_start;
  std::vector<double> head_weights;  // one per concept head
  double gradient_clip_norm = 0;
  optim::Schedule schedule;
  optim::OptimizerOptions optimizer;
  double average_decay = 0;  // 0: no average of the weights
  bool average_warm_up = true;
};

struct StepResult {
  double loss = 0, learning_rate = 0, logit_scale = 0, gradient_norm = 0;  // logit_scale: ln(1/temperature)
  std::vector<double> pair_loss;          // of the contrastive loss, adds up to it
  std::vector<double> head_loss;          // of each concept head, before its weight
  std::optional<losses::GateStep> gates;  // without its weights
  std::vector<at::Tensor> signals_Kb;     // slot_signals() of own slots, when observed
  std::int64_t live = 0;
  bool too_few = false;     // fewer than two live rows, or nothing to learn: nothing was updated
  bool non_finite = false;  // loss or gradient: nothing was updated, on any rank
};

class TrainingStep {
 public:
  // All must outlive this object. Throws kInvalid naming an option of the loss or a group of parameters.
  TrainingStep(TrainableModel& model, collective::Group& group, SlotPool& pool, StepOptions options);

  // `own`: this rank's slots. `step`: 0-based, for schedule and choice of negatives. Collective. A step whose
  // loss or gradient is not finite is computed once more on the same data; decided on reduced values, so
  // alike on all ranks.
  // `observe`: the result has the signals of its rows.
  StepResult run(const std::vector<SlotInput>& own, std::int64_t step, bool observe = false);

  optim::Optimizer& optimizer() { return *optimizer_; }
  optim::WeightAverage* average() { return average_.get(); }  // null when off
  const losses::GateState& gates() const { return gates_; }
  void set_gates(const losses::GateState& gates) { gates_ = gates; }

 private:
  StepResult attempt(const std::vector<SlotInput>& own, std::int64_t step, const optim::Rates& rates);
  // The sum over all slots, float32 [numbers]; undefined when there is nothing to update.
  at::Tensor gradient_of(const std::vector<SlotInput>& own, std::int64_t step, StepResult& result);
  at::Tensor gradient_without_pairs(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                                    StepResult& result);
  std::vector<SlotOutput> forward(const std::vector<SlotInput>& own);
  SlotOutput in_chunks(const SlotInput& input);
  std::vector<losses::SlotEmbeddings> embeddings_of(const std::vector<SlotInput>& own,
                                                    const std::vector<SlotOutput>& outputs) const;
  at::Tensor backward(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                      const losses::ContrastiveResult& loss, const HeadLosses& heads);
  void slot_gradient(const SlotInput& input, const SlotOutput& output, const losses::SlotGradient& gradient,
                     const HeadLosses& heads, at::Tensor& flat);
  // Rows [first, …) of `gradient` through the graphs of `output`, written to `flat` or added to it.
  void through(const SlotOutput& output, const losses::SlotGradient& gradient, std::int64_t first,
               const HeadLosses& heads, bool add, at::Tensor& flat) const;
  at::Tensor free_buffer();
  void set_scalars(const losses::SlotGradient& gradient, at::Tensor& flat) const;
  at::Tensor statistics_of(const at::Tensor& flat) const;
  void update(StepResult& result, const at::Tensor& flat, const optim::Rates& rates);
  at::Tensor on_wire(const at::Tensor& tensor) const;
  optim::ForEach for_each();
  bool chunked(const SlotInput& input) const;

  TrainableModel& model_;
  collective::Group& group_;
  SlotPool& pool_;
  StepOptions options_;
  NamedTensors parameters_;
  std::vector<at::Tensor> leaves_;
  std::int64_t numbers_ = 0;  // elements of all parameters, and what the model keeps beside them
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<optim::WeightAverage> average_;
  losses::GateState gates_;
  bool observe_ = false;
  std::mutex buffers_mutex_;
  std::vector<at::Tensor> buffers_;  // flat gradients, used again
};

}  // namespace trireme::worker::stages::train

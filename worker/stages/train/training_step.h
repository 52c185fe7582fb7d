// One step of contrastive training over a gang (METHODS 8 scheme B, RELIABILITY 8.6): forward of own slots,
// their graphs kept; exact contrastive loss over the global batch; backward slot by slot into one flat
// float32 vector per slot; the fixed tree over all slots; the same clipping and AdamW update on every rank.
// With a pool of one-thread workers the weights have the same bits for any number of ranks that divides the
// slots.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "worker/collective/group.h"
#include "worker/losses/contrastive.h"
#include "worker/optim/adamw.h"
#include "worker/optim/schedule.h"
#include "worker/stages/train/slot_pool.h"
#include "worker/stages/train/trainable_model.h"

namespace trireme::worker::stages::train {

struct StepOptions {
  std::int64_t slots = 1;
  bool bf16 = false;  // autocast of forward and backward
  double gradient_clip_norm = 0;
  optim::Schedule schedule;
  optim::AdamWOptions adamw;
};

struct StepResult {
  double loss = 0, learning_rate = 0, logit_scale = 0, gradient_norm = 0;
  std::int64_t live = 0;
  bool too_few = false;     // fewer than two live rows: nothing was updated
  bool non_finite = false;  // loss or gradient: nothing was updated, on any rank
};

class TrainingStep {
 public:
  // All must outlive this object.
  TrainingStep(TrainableModel& model, collective::Group& group, SlotPool& pool, StepOptions options);

  // `own`: this rank's slots. `step`: 0-based, for the schedule. Collective. A step whose loss or gradient is
  // not finite is computed once more on the same data; decided on reduced values, so alike on all ranks.
  StepResult run(const std::vector<SlotInput>& own, std::int64_t step);

  optim::AdamW& optimizer() { return optimizer_; }

 private:
  StepResult attempt(const std::vector<SlotInput>& own, std::int64_t step, double learning_rate);
  // The sum over all slots, float32 [numbers]; undefined when there is nothing to update.
  at::Tensor gradient_of(const std::vector<SlotInput>& own, std::int64_t step, StepResult& result);
  std::vector<SlotOutput> forward(const std::vector<SlotInput>& own);
  at::Tensor backward(const std::vector<SlotOutput>& outputs, const losses::ContrastiveResult& loss);
  at::Tensor free_buffer();
  void flatten(const std::vector<at::Tensor>& gradients, double logit_scale, at::Tensor& flat) const;
  void update(StepResult& result, const at::Tensor& flat);
  at::Tensor on_wire(const at::Tensor& tensor) const;

  TrainableModel& model_;
  collective::Group& group_;
  SlotPool& pool_;
  StepOptions options_;
  NamedTensors parameters_;
  std::vector<at::Tensor> leaves_;
  std::int64_t numbers_ = 0;  // elements of all parameters
  optim::AdamW optimizer_;
  std::mutex buffers_mutex_;
  std::vector<at::Tensor> buffers_;  // flat gradients, used again
};

}  // namespace trireme::worker::stages::train

// One step of training over a gang (METHODS 8 scheme B, RELIABILITY 8.6): forward of own slots, their graphs
// kept; the learner's exact loss over the global batch; backward slot by slot into one flat float32 vector
// per slot; the fixed tree over all slots; the same clipping and update on every rank. With a pool of
// one-thread workers the weights have the same bits for any number of ranks that divides the slots.
//
// With micro_batch, outputs are computed without graphs, and each chunk of rows once more with its graph when
// the loss has given its slopes: one chunk's graph in memory, the same gradients (Gao et al., 2021).
// What a model draws at random is a function of the row (Learner::forward), and batch norms use their
// stored statistics (kInvalid otherwise), so both passes and every size of chunk see the same numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "worker/collective/group.h"
#include "worker/kernels/sent.h"
#include "worker/optim/optimizer.h"
#include "worker/optim/schedule.h"
#include "worker/optim/weight_average.h"
#include "worker/stages/train/step/learner.h"
#include "worker/stages/train/step/slot_pool.h"
#include "worker/stages/train/step/slot_replay.h"

namespace trireme::worker::stages::train {

struct StepOptions {
  std::int64_t slots = 1;
  bool bf16 = false;             // autocast of forward and backward
  std::int64_t micro_batch = 0;  // rows of a slot at once; 0: all
  double gradient_clip_norm = 0;
  optim::Schedule schedule;
  optim::OptimizerOptions optimizer;
  double average_decay = 0;  // 0: no average of the weights
  bool average_warm_up = true;
  bool graphs = false;  // the way of each slot there and back as CUDA graphs, where the learner allows it
  // Nothing of a step is read on the host before the step is done. Absent: on a GPU. Where the group takes
  // only what is on the host, steps are read at once all the same.
  std::optional<bool> read_later = {};
};

struct StepResult {
  StepLoss loss;  // without slopes
  double learning_rate = 0, gradient_norm = 0;
  bool non_finite = false;  // loss or gradient: nothing was updated, on any rank
  bool only_once = false;   // it was not finite, and is: computed again on the same data
  bool skipped() const { return loss.too_few || non_finite; }

  // Of a step that launch() gave before it is done: its numbers on their way, and its signals.
  std::shared_ptr<kernels::Returning> numbers;
  std::vector<kernels::Returning> signals;
};

class TrainingStep {
 public:
  // All must outlive this object. Throws kInvalid naming an option or a group of parameters.
  TrainingStep(Learner& learner, collective::Group& group, SlotPool& pool, StepOptions options);

  // `own`: this rank's slots. `step`: 0-based, for the schedule and what a loss draws. Collective.
  // `observe`: the result has the signals of its rows.
  // A step whose loss or gradient is not finite changes nothing; decided on reduced values, so alike on all
  // ranks. Read at once, it is computed once more on the same data before that. Read later, the device
  // decides (Optimizer::step()), and whether it did is said by read(): what the host has counted meanwhile is
  // put right there. Weights and state are those of all launched steps.
  StepResult launch(const std::vector<SlotInput>& own, std::int64_t step, bool observe = false);
  // Waits until the step is done, and for nothing behind it; throws what has gone wrong on the way. In the
  // order of launch(), once each.
  void read(StepResult& launched);
  bool reads_later() const { return later_; }
  StepResult run(const std::vector<SlotInput>& own, std::int64_t step, bool observe = false) {
    StepResult result = launch(own, step, observe);
    read(result);
    return result;
  }

  optim::Optimizer& optimizer() { return *optimizer_; }
  optim::WeightAverage* average() { return average_.get(); }  // null when off

 private:
  StepResult attempt(const std::vector<SlotInput>& own, const LossContext& context,
                     const optim::Rates& rates);
  std::vector<SlotOutput> forward(const std::vector<SlotInput>& own);
  SlotOutput in_chunks(const SlotInput& input);
  // The sum over all slots, float32 [numbers].
  at::Tensor backward(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                      const StepLoss& loss);
  void slot_gradient(std::int64_t slot, const SlotInput& input, const SlotOutput& output,
                     const SlotSlopes& slopes, const at::Tensor& sum_slopes_H, at::Tensor& flat);
  // Rows [first, …) of the slopes through the graphs of `output`, written to `flat` or added to it. keep: for
  // another time.
  void through(const SlotOutput& output, const SlotSlopes& slopes, std::int64_t first,
               const at::Tensor& sum_slopes_H, bool add, at::Tensor& flat, bool keep = false) const;
  at::Tensor free_buffer();
  void set_scalars(const SlotSlopes& slopes, at::Tensor& flat) const;
  at::Tensor statistics_of(const at::Tensor& flat) const;
  std::vector<at::Tensor> gradients_of(const at::Tensor& flat) const;
  void update(StepResult& result, const at::Tensor& flat, const optim::Rates& rates);
  void update_there(StepResult& result, const at::Tensor& flat, const optim::Rates& rates);
  bool can_read_later() const;
  optim::ForEach for_each();
  bool chunked(const SlotInput& input) const;

  Learner& learner_;
  collective::Group& group_;
  SlotPool& pool_;
  StepOptions options_;
  NamedTensors parameters_;
  std::vector<at::Tensor> leaves_;
  std::int64_t numbers_ = 0;  // elements of all parameters, and what the learner keeps beside them
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<optim::WeightAverage> average_;
  std::unique_ptr<SlotReplay> replay_;  // null where nothing is recorded
  bool later_ = false;                  // steps are read later
  std::mutex buffers_mutex_;
  std::vector<at::Tensor> buffers_;  // flat gradients, used again
};

}  // namespace trireme::worker::stages::train

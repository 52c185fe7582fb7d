// What the training step needs of what is trained: a pass over the rows of a logical slot, the loss of the
// global batch with its slopes at what the pass gave, and the parameters. Every objective has one, and none
// looks at a number of the device on the way, but for loss() where the step is read at once.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/collective/group.h"
#include "worker/optim/optimizer.h"

namespace trireme::worker::stages::train {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Sparse soft targets of one head. Rows that are not live or have none hold zero weights.
struct SoftTargets {
  at::Tensor index_Bk, weight_Bk;  // int64, float32
};

// Rows of one logical slot; which fields are defined is the objective's choice. Rows that are not live hold
// zeros or padding tokens.
struct SlotInput {
  at::Tensor image_BCHW;         // float32
  at::Tensor image_features_BT;  // or the stored output of a frozen tower
  at::Tensor tokens_BL;          // int64; a captioner's are on the CPU
  at::Tensor text_features_BT;
  at::Tensor caption_tokens_BL;      // int64: synthetic captions beside the raw texts
  at::Tensor caption_features_BT;    // or their stored output of a frozen text tower
  at::Tensor label_B;                // int64, on the CPU; undefined: every row is its own
  std::vector<SoftTargets> targets;  // one per head
  at::Tensor live_B;                 // uint8, on the CPU
  std::int64_t first_row = 0;        // of the slot: what is drawn at random is drawn by row
  std::uint64_t seed = 0;            // what layers draw depends on these three alone
  std::int64_t step = 0, slot = 0;
  double target_seconds = 0;  // processor time that making `targets` took
};

// Rows [first, first + count): views of the same memory.
SlotInput rows_of(const SlotInput& input, std::int64_t first, std::int64_t count);

// What the loss is made of, with its graph. Of a slot in chunks rows are put together and sums and counts
// added.
struct SlotOutput {
  std::vector<at::Tensor> rows_BD;  // one row per row of the input each: embeddings, logits
  at::Tensor sum_H;                 // float32, sums over the rows, one per head; undefined without
  at::Tensor count_H;               // float64 on the CPU, without a graph: what sum_H sums over, if not rows
  at::Tensor statistics;            // float32 [statistics_numbers()], undefined when that is 0
};

// Slopes of the loss at one slot's output.
struct SlotSlopes {
  std::vector<at::Tensor> rows_BD;
  // Parameters that meet the rows in the loss alone (a temperature), and this slot's share of their slope:
  // float64 [], on the host, or where the parameters are.
  std::vector<std::pair<at::Tensor, at::Tensor>> scalars;
};

struct StepLoss;

// The numbers of a loss that are still on the device, and what becomes of them on the host.
struct NumbersThere {
  at::Tensor values;                                               // float64 [n], the loss first
  std::function<void(const double* values, StepLoss& loss)> read;  // sets all but `value`
};

struct StepLoss {
  double value = 0;
  double logit_scale = 0;                             // ln(1/temperature), where there is one
  std::vector<double> parts;                          // as Objective::parts() names them
  std::vector<std::pair<std::string, double>> gates;  // for the log
  std::vector<at::Tensor> signals_Kb;                 // of own slots, when observed: see signals/signals.h
  NumbersThere there;              // where LossContext::later: value, parts, gates, logit_scale
  std::int64_t live = 0;           // rows that count, on all ranks
  bool too_few = false;            // nothing to learn from: no slopes
  std::vector<SlotSlopes> slopes;  // one per own slot
  at::Tensor sum_slopes_H;         // float64, of SlotOutput::sum_H, the same for every slot
};

struct LossContext {
  collective::Group& group;
  std::int64_t slots = 1;  // of the global batch
  std::int64_t step = 0;
  bool observe = false;
  optim::ForEach for_each;
  // Nothing may be read on the host: numbers stay in StepLoss::there, signals on the device.
  bool later = false;
};

class Learner {
 public:
  virtual ~Learner() = default;

  // Called by several threads at once; changes nothing, and a row of the result is a function of that row of
  // the input alone, whatever rows stand beside it.
  virtual SlotOutput forward(const SlotInput& input) = 0;
  // Whether forward() is the same work whenever shapes are the same: it draws nothing, keeps no statistics
  // and looks at nothing on the host. Then it may be recorded (slot_replay.h).
  virtual bool repeats() const { return false; }
  // The same rows in one of few shapes, where forward() may be recorded.
  virtual SlotInput padded(const SlotInput& input) const { return input; }
  // Of the global batch: inputs and outputs are of this rank's slots, in slot order. Collective; value, parts
  // and counts have the same bits on every rank and for any number of them.
  virtual StepLoss loss(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                        const LossContext& context) = 0;

  // In a fixed order; float32 leaves that require gradients, those of SlotSlopes::scalars among them.
  virtual NamedTensors parameters() = 0;
  // The step of the last loss() was taken: what it would change is changed now, what has bounds is clamped.
  // `taken` as in Optimizer::step(): where it is defined, all this is so only where it is 1.
  virtual void settle(const at::Tensor& /*taken*/) {}
  // Parameters have changed.
  virtual void updated() {}

  // What a checkpoint holds beside the model's own tensors, sharing memory, and back (kDamaged).
  virtual NamedTensors state() const { return {}; }
  virtual void load_state(const NamedTensors& /*state*/) {}

  // What forward() saw and the model keeps (moving statistics of batch norms), summed over all slots of the
  // global batch and handed back once per update, in the thread that updates; zeros where a step is found not
  // to be taken on the device: nothing was seen.
  virtual std::int64_t statistics_numbers() const { return 0; }
  virtual void absorb_statistics(const at::Tensor& /*sum*/) {}
};

// Without its graph, where the group wants its tensors: on the host, where it takes none of a device.
at::Tensor on_wire(const at::Tensor& tensor, const collective::Group& group);

}  // namespace trireme::worker::stages::train

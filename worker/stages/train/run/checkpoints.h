// The checkpoints of a run: when one is due and what it holds, going on from one, going back to one, and
// stopping with one. Gang rank 0 writes; which one all go back to, and when all leave, the ranks agree on.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>

#include "worker/collective/group.h"
#include "worker/models/dual_encoder.h"
#include "worker/runtime/stage.h"
#include "worker/stages/train/signals/signals.h"
#include "worker/stages/train/state/checkpoint_writer.h"
#include "worker/stages/train/step/training_step.h"

namespace trireme::worker::stages::train {

// Where a run stands, beside what its model holds.
struct RunState {
  Progress progress;
  NamedTensors best;  // model tensors and what lies beside them at progress.best_step; empty without one
};

class Checkpoints {
 public:
  // What a checkpoint is of. All must outlive this object.
  struct Of {
    models::DualEncoder& encoder;
    Learner& learner;
    TrainingStep& step;
    SignalTally& signals;
    RunState& state;
  };
  Checkpoints(const jobs::Task& task, runtime::TaskContext& context, collective::Group& group, Of of,
              bool rolls_back);

  // Takes up Task::resume_from, if there is one. Throws kDamaged when it was made with other data or another
  // seed than `state` says.
  bool resume();
  // Collective. All ranks are where the newest committed checkpoint was, but for progress and best; its step.
  // Taken from memory where this rank has kept it, else from the files. Throws kInvalid when there is none.
  std::int64_t roll_back();
  // Of every rank, after a step: gang rank 0 writes the checkpoint that is due, and where steps roll back
  // each keeps what it holds. Throws what keeps checkpoints from being written for too long.
  void save_if_due(bool last_step);
  void wait();  // until none is under way

  // Collective, before a step is launched: whether to stop after the steps done so far, and whether gang rank
  // 0 wants them done, so that it can write what they have made.
  struct Asked {
    bool stop = false, done = false;
  };
  Asked asked();
  // Every rank alike: whether a checkpoint is due after so many steps.
  bool due_by_steps(std::int64_t step) const {
    return task_.checkpoint_every_steps > 0 && step % task_.checkpoint_every_steps == 0;
  }
  // Collective; throws kCancelled. All leave together, and only once the ledger holds the checkpoint: a
  // member that left first would end the gang's lease, and with it what gang rank 0 has to say about it.
  [[noreturn]] void stop_after_one();

 private:
  bool leads() const { return group_.rank() == 0; }
  TrainState state() const;
  void restore(const TrainState& state);
  void keep(const TrainState& state);
  void save(bool best);
  bool due_by_time() const;                      // of gang rank 0: also one that failed, or is waited for
  std::int64_t from_leader(std::int64_t value);  // collective
  std::int64_t committed_step() const;           // gang rank 0: newest in the ledger, -1 when none
  std::int64_t settle_last();

  const jobs::Task& task_;
  runtime::TaskContext& context_;
  collective::Group& group_;
  Of of_;
  std::unique_ptr<CheckpointWriter> writer_;
  const bool rolls_back_;
  std::map<std::int64_t, TrainState> kept_;  // of the newest steps; tensors that nobody writes to
  std::int64_t resumed_step_ = -1;
  bool save_now_ = false, tried_to_stop_ = false;
  std::chrono::steady_clock::time_point last_save_ = std::chrono::steady_clock::now();
};

}  // namespace trireme::worker::stages::train

// One run of the train stage, from inputs to result: the loop around TrainingStep.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "jobs/specification/job_spec.h"
#include "worker/collective/group.h"
#include "worker/collective/slot_tree.h"
#include "worker/data/batches/loader.h"
#include "worker/runtime/stage.h"
#include "worker/stages/train/checkpoint_writer.h"
#include "worker/stages/train/data_set.h"
#include "worker/stages/train/guard.h"
#include "worker/stages/train/sidecar_share.h"
#include "worker/stages/train/signals.h"
#include "worker/stages/train/slot_inputs.h"
#include "worker/stages/train/step_log.h"
#include "worker/stages/train/trainable_model.h"
#include "worker/stages/train/training_step.h"
#include "worker/stages/train/truth.h"

namespace trireme::worker::stages::train {

class TrainRun {
 public:
  // All must outlive this object.
  TrainRun(const jobs::Task& task, runtime::TaskContext& context, collective::Group& group);
  jobs::TaskDone run();

 private:
  bool leads() const { return group_.rank() == 0; }

  // Set-up, in this order.
  void open_data();
  void open_model();
  void open_evaluation();
  void resume();
  void restore(const TrainState& state);  // all but progress and best
  void open_loader();
  void find_synthetic_captions();

  // The loop.
  void train();
  StepRow one_step();
  void tally(const data::BatchLoader::Step& batch, const std::vector<SlotInput>& inputs,
             const StepResult& done);
  void count_guarded(const StepResult& done);
  void roll_back(StepRow& row);
  void finish_step(StepRow& row);
  void evaluate(StepRow& row);
  void report(const StepRow& row);
  void checkpoint_if_due();
  bool all_stop();  // collective: whether to stop after the steps done so far
  void save(bool best);
  std::int64_t from_leader(std::int64_t value);  // collective
  std::int64_t committed_step() const;           // gang rank 0: newest in the ledger, -1 when none
  std::int64_t settle_last_checkpoint();
  void stop_after_checkpoint();
  jobs::TaskDone result();

  std::string order_hash(std::int64_t epoch, std::int64_t step_in_epoch) const;

  const jobs::Task& task_;
  runtime::TaskContext& context_;
  collective::Group& group_;
  jobs::TrainSettings settings_;
  Guard guard_;
  collective::SlotRange own_;
  SlotPool pool_;
  DataSet data_;
  std::optional<DataSet> evaluation_data_;  // outlives evaluate_
  std::shared_ptr<const data::SampleOrder> order_;
  std::unique_ptr<models::DualEncoder> encoder_;
  std::unique_ptr<TrainableModel> model_;
  std::function<evaluation::Metrics()> evaluate_;  // the held-back data; empty: never
  std::unique_ptr<TrainingStep> step_;
  std::unique_ptr<data::BatchLoader> loader_;
  std::unique_ptr<StepLog> log_;
  std::unique_ptr<CheckpointWriter> writer_;
  SlotInputOptions input_options_;
  std::unique_ptr<SignalTally> signals_;
  std::unique_ptr<TruthTable> truth_;  // from the first step of the last epoch
  std::int64_t total_steps_ = 0, observed_from_ = 0;
  Progress progress_;
  NamedTensors best_;
  std::map<std::string, std::int64_t> counts_;  // of own slots: "bad.<reason>", "concepts.<head>.<what>"
  std::int64_t skipped_ = 0, resumed_step_ = -1;
  bool save_now_ = false, tried_to_stop_ = false;
  double trained_seconds_ = 0;
  SidecarShare sidecars_;
  double pair_flops_ = 0, matmul_rate_ = 1;  // of one worker's threads together
  double recent_samples_ = 0, recent_seconds_ = 0;
  std::chrono::steady_clock::time_point last_save_ = std::chrono::steady_clock::now();
};

}  // namespace trireme::worker::stages::train

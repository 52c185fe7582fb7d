// One run of the train stage, from inputs to result: builds its parts once, loops, reports. What is learnt is
// the objective's (objectives/objective.h).
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "worker/collective/slot_tree.h"
#include "worker/data/batches/loader.h"
#include "worker/stages/train/objectives/objective.h"
#include "worker/stages/train/run/checkpoints.h"
#include "worker/stages/train/run/copy_stream.h"
#include "worker/stages/train/run/guard.h"
#include "worker/stages/train/run/sidecar_share.h"
#include "worker/stages/train/run/step_reporter.h"
#include "worker/stages/train/signals/truth.h"

namespace trireme::worker::stages::train {

class TrainRun {
 public:
  // All must outlive this object.
  TrainRun(const jobs::Task& task, const jobs::TrainSettings& settings, runtime::TaskContext& context,
           collective::Group& group);
  jobs::TaskDone run();

 private:
  bool leads() const { return group_.rank() == 0; }

  // Set-up, in this order.
  void open_data();
  void open_objective();
  void open_order();
  void open_step();
  void open_loader();
  void open_reporter();

  // The loop.
  struct Prepared {
    data::BatchLoader::Step batch;  // stays until the step is done: its pictures travel out of it
    std::vector<SlotInput> inputs;
    std::vector<std::map<std::string, std::int64_t>> counts;
    std::shared_ptr<c10::Event> copied;
  };
  // A step on its way: on a GPU one is launched before the one before it is read.
  struct Launched {
    std::int64_t step = 0;  // 0-based
    Prepared prepared;      // stays for what it travels out of, and to be launched again
    StepResult result;
    std::chrono::steady_clock::time_point begin;
  };
  void train();
  Prepared prepared(std::int64_t step);
  Prepared prepare(std::int64_t step);
  void launch();
  void finish_one();
  void finish_all();
  bool must_be_done(std::int64_t steps) const;  // before another is launched
  StepRow read_step(Launched& launched);
  void tally(const Prepared& prepared, const StepResult& done);
  void roll_back(StepRow& row);
  void finish_step(StepRow& row);
  void evaluate(StepRow& row);
  jobs::TaskDone result();

  std::string order_hash(std::int64_t epoch, std::int64_t step_in_epoch) const;

  const jobs::Task& task_;
  runtime::TaskContext& context_;
  collective::Group& group_;
  std::vector<jobs::InputsLine> inputs_;
  jobs::TrainSettings settings_;
  Guard guard_;
  collective::SlotRange own_;
  SlotPool pool_;
  CopyStream copies_;
  DataSet data_;
  std::optional<DataSet> evaluation_data_;
  std::unique_ptr<models::DualEncoder> encoder_;
  std::unique_ptr<Objective> objective_;
  std::shared_ptr<const data::SampleOrder> order_;
  std::int64_t total_steps_ = 0, observed_from_ = 0;
  RunState state_;
  std::unique_ptr<TrainingStep> step_;
  std::unique_ptr<SignalTally> signals_;
  std::unique_ptr<TruthTable> truth_;  // from the first step of the last epoch
  std::unique_ptr<Checkpoints> checkpoints_;
  std::unique_ptr<data::BatchLoader> loader_;
  std::deque<Prepared> ahead_;                      // of the next steps
  std::deque<Launched> launched_;                   // and not read yet
  std::chrono::steady_clock::time_point last_end_;  // of the last step that was read
  std::unique_ptr<StepReporter> reporter_;          // of gang rank 0
  std::map<std::string, std::int64_t> counts_;      // of own slots: "bad.<reason>", and the objective's
  std::int64_t skipped_ = 0;
  SidecarShare sidecars_;
};

}  // namespace trireme::worker::stages::train

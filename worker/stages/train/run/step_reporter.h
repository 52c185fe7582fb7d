// What is said of every step, by gang rank 0: a row of log.jsonl, a report to the coordinator, metrics.
#pragma once

#include <cstdint>

#include "worker/runtime/stage.h"
#include "worker/stages/train/state/step_log.h"
#include "worker/stages/train/step/training_step.h"

namespace trireme::worker::stages::train {

class StepReporter {
 public:
  // `flops_per_sample`: model FLOPs; `matmul_rate`: FLOP/s that all ranks together could do.
  StepReporter(runtime::TaskContext& context, const io::Path& log, std::int64_t resumed_step,
               std::int64_t total_steps, double flops_per_sample, double matmul_rate);

  void add(const StepRow& row);
  void count_guarded(std::int64_t step,
                     const StepResult& done);  // steps that changed nothing, or were computed again
  void sidecars(double seconds);               // processor time of a step's captions and targets

 private:
  void count(const StepRow& row, double samples_per_second);

  runtime::TaskContext& context_;
  StepLog log_;
  std::int64_t total_steps_;
  double flops_per_sample_, matmul_rate_;
  double recent_samples_ = 0, recent_seconds_ = 0;
};

}  // namespace trireme::worker::stages::train

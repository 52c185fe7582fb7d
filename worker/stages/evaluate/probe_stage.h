// probe: the logistic regression of a linear_probe, by all workers in lockstep. Every worker keeps a share of
// the rows of train_data and validation_data (METHODS 7.4); rank 0 writes `.probe.safetensors`: "weight"
// [K, D] and "bias" [K], float64, and as metadata "c", "validation_accuracy" and the counts of what was
// learnt from. The same by 1, 2, 4 or 8 workers (jobs::kProbeSlots).
#pragma once

#include <map>
#include <string>

#include "worker/evaluation/linear_probe.h"
#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::evaluate {

class ProbeStage : public runtime::StageOf<jobs::TaskKind::kProbe, jobs::EvaluateSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

struct LearntProbe {
  evaluation::LinearClassifier classifier;
  double c = 0, validation_accuracy = 0;
  std::map<std::string, std::int64_t> counts;
};
LearntProbe read_probe(const std::string& path);  // throws kDamaged naming the file

}  // namespace trireme::worker::stages::evaluate

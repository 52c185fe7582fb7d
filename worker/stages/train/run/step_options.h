// A train stage's settings as the options of the training step, and a step's result as a row of the log.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"
#include "worker/stages/train/state/step_log.h"
#include "worker/stages/train/step/training_step.h"

namespace trireme::worker::stages::train {

StepOptions step_options(const jobs::TrainSettings& settings, std::int64_t total_steps);

// What a step's result puts into its row; place in the epoch, times and order are the caller's.
// `part_names`: Objective::parts().
StepRow row_of(const StepResult& done, const std::vector<std::string>& part_names);

}  // namespace trireme::worker::stages::train

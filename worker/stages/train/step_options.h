// A train stage's settings as the options of the parts that do the work, and their result as a row of the
// log.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"
#include "worker/stages/train/dual_encoder_model.h"
#include "worker/stages/train/step_log.h"
#include "worker/stages/train/training_step.h"

namespace trireme::worker::stages::train {

StepOptions step_options(const jobs::TrainSettings& settings, const jobs::ModelSpec& model,
                         std::int64_t total_steps);

DualEncoderOptions encoder_options(const jobs::TrainSettings& settings, const jobs::ModelSpec& model,
                                   const std::string& device);

// Names of the parts of the loss, as in StepResult: pairs ("image_text", "image_caption"), then heads.
std::vector<std::string> loss_parts(const jobs::TrainSettings& settings);

// What a step's result puts into its row; place in the epoch, times and order are the caller's.
StepRow row_of(const StepResult& done, const std::vector<std::string>& part_names);

}  // namespace trireme::worker::stages::train

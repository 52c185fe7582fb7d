// Rules between the fields of a train stage: loss, temperature, concept heads, optimiser.
#pragma once

#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {

// `at`: pointer of the stage. Appends faults.
void check_training(const PipelineSpec& spec, const TrainSettings& settings, const std::string& at,
                    std::vector<SpecFault>& faults);

// Features that an embed stage stored take the place of pictures.
void check_images(const PipelineSpec& spec, const TrainSettings& settings, const std::string& here,
                  const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults);
// Captions that a stage writes: it comes before, over the same data.
void check_synthetic_captions(const TrainSettings& settings, const std::string& here,
                              const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults);

}  // namespace trireme::jobs

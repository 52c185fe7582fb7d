// What an evaluate stage's settings may not say together, and what a model that starts from a train stage's
// weights needs. Appends faults.
#pragma once

#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"
#include "jobs/specification/json/fault.h"

namespace trireme::jobs {

// Prompts, k, shots, metrics; `here`: pointer of the stage.
void check_protocol(const EvaluateSettings& settings, const std::string& here,
                    std::vector<SpecFault>& faults);

// The stages that model `name` starts from come before the stage at `here`, whose needs (all of them) are
// given, and train its kind of text part.
void check_start(const PipelineSpec& spec, const std::string& name, const std::string& here,
                 const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults);

// The evaluate stage whose probe a classification head starts as is there, among the needs, and learns on
// what the head reads of the same weights.
void check_probe(const PipelineSpec& spec, const TrainSettings& settings, const std::string& here,
                 const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults);

}  // namespace trireme::jobs

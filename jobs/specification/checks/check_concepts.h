// Rules of the stages that make and use concept labels: what is named must exist, come before, and fit.
#pragma once

#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {

// `at`: pointer of the stage; `needs`: all_needs() of it. Faults are appended.
void check_concepts(const PipelineSpec& spec, const ConceptsSettings& settings, const std::string& at,
                    const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults);
void check_concepts(const PipelineSpec& spec, const TrainSettings& settings, const std::string& at,
                    const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults);

// Where `value` (at `pointer`) is "stage:<name>", that is a stage of that kind among the needs.
void check_made_by(const PipelineSpec& spec, const std::string& value, const std::string& kind,
                   const std::string& at, const std::string& pointer,
                   const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults);

}  // namespace trireme::jobs

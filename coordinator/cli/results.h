// What a finished job leaves behind, printed at its end.
#pragma once

#include <string>

#include "coordinator/cli/client/job_view.h"

namespace trireme::coordinator::cli {

// Evaluation tables (<output>/stages/*/evaluation.json, CLIP_benchmark's format; chance beside a metric where
// the file has it), samples dropped by reason, work reused, and where report, model and index lie. Files that
// are not there are left out.
std::string results_text(const JobView& job);

}  // namespace trireme::coordinator::cli

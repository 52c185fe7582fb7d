// What report.html says of each caption stage: how many captions were written, repeated, looping, cut or
// empty (TaskDone::counts), and some of them, spread over the files (Captions in jobs/protocol/FORMAT.md);
// unreadable files and lines are passed over.
#pragma once

#include <string>

#include "coordinator/report/report.h"

namespace trireme::coordinator::report {

std::string caption_sections(const ReportInput& input, std::size_t most_per_stage = 24);

}  // namespace trireme::coordinator::report

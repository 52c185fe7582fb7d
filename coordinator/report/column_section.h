// What report.html says of the numbers that a filter's column rules ask about (JSON columns, scores of other
// programs, pair_scores): how they are distributed, so that a threshold can be chosen. From at most 64 of the
// facts files (Facts in jobs/protocol/FORMAT.md), spread over all; unreadable lines are passed over.
#pragma once

#include <string>

#include "coordinator/report/report.h"

namespace trireme::coordinator::report {

std::string column_sections(const ReportInput& input);

}  // namespace trireme::coordinator::report

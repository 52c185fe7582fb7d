// What report.html says of each train stage: curves over its steps (log.jsonl: loss and its parts, learning
// rate, temperature, ALIP's running means and mean weights, evaluation) and histograms of its last epoch
// (signals.json: similarities and gate weights, clean versus corrupted where the truth is known).
#pragma once

#include <string>

#include "coordinator/report/report.h"

namespace trireme::coordinator::report {

std::string training_sections(const ReportInput& input);

}  // namespace trireme::coordinator::report

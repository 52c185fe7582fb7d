// report.html of a sweep: the chart of the main metric, the table, the runs with links to their own reports,
// provenance and the sweep file. Self-contained but for those links. Pure.
#pragma once

#include <string>
#include <vector>

#include "coordinator/sweep/sweep_document.h"

namespace trireme::coordinator::sweep {

std::string sweep_page(const Sweep& sweep, const std::vector<RunResult>& results, const Table& table,
                       const Provenance& provenance);

}  // namespace trireme::coordinator::sweep

// Few-shot curves of a sweep (METHODS 2.6): accuracy against shots, means over the seeds with their spread, a
// line per kind of probe and zero-shot across. Pure.
#pragma once

#include <string>

#include "coordinator/sweep/sweep_table.h"

namespace trireme::coordinator::sweep {

// Of every row and every evaluate stage whose metrics are "<stage>.<probe>_acc1@<shots>" for two shots or
// more; "" where there is none.
std::string shot_curves(const Table& table);

}  // namespace trireme::coordinator::sweep

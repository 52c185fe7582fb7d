// Reads the receipt of a stage output in the store (jobs/protocol/FORMAT.md), to tell what need not be done
// again.
#pragma once

#include "jobs/protocol/messages.h"

namespace trireme::coordinator::planner {

// The result of an equal task, when its receipt is whole and every output has the size and xxh3 it lists;
// else false. Reads the outputs.
bool find_reusable(const jobs::Task& task, jobs::TaskDone& done);

}  // namespace trireme::coordinator::planner

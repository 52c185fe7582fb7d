// A task's result as the ledger keeps it: {"reused","outputs":[{"name","path","bytes","xxh3"}],"counts",
// "summary","seconds"}. The lease is the row's key and not repeated.
#pragma once

#include <string>
#include <string_view>

#include "jobs/protocol/messages.h"

namespace trireme::coordinator::ledger {

std::string result_json(const jobs::TaskDone& done);
jobs::TaskDone result_from_json(std::string_view text, LeaseId lease);  // throws kDamaged

}  // namespace trireme::coordinator::ledger

// `trireme serve`: the search service in the foreground; and `trireme search` asking one that runs.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "coordinator/serve/service.h"

namespace trireme::coordinator::cli {

// Until SIGTERM or SIGINT. `threads` of a worker 0: the cores divided by the workers.
int serve(serve::ServiceOptions options, std::ostream& out);

// Answers `trireme search …` (everything after "search") by the service of its run. False when none runs, it
// cannot be reached, or it was not to be asked. Throws what the service answers, and kUsage.
bool asked_service(const std::vector<std::string>& arguments, std::ostream& out);

}  // namespace trireme::coordinator::cli

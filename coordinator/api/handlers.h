// What each endpoint does, on top of the Face. Runs on the pool, never on the I/O thread.
#pragma once

#include <optional>

#include "common/io/log_tail.h"
#include "coordinator/api/guard.h"
#include "coordinator/api/server.h"
#include "coordinator/service/face.h"

namespace trireme::coordinator::api {

// Errors of the Face become problem+json; nothing is thrown.
Response handle(service::Face& face, const ServerOptions& options, const Admission& admission,
                const Request& request);

// Opens the log that a follower reads; status 200, or the refusal with `tail` left empty.
Response handle_follow(service::Face& face, const ServerOptions& options, const Admission& admission,
                       const Request& request, std::optional<io::LogTail>& tail);
// Whether the job is in a final state or cannot be asked for any more.
bool is_over(service::Face& face, const std::string& job_id);

// A whole number in [least, most] from the query, `otherwise` when absent. Throws kUsage naming it.
std::int64_t query_number(const Target& target, const std::string& name, std::int64_t otherwise,
                          std::int64_t least, std::int64_t most);

}  // namespace trireme::coordinator::api

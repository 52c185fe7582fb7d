// The JSON that the API itself writes and reads; everything else comes from the Face as it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/http/problem.h"
#include "coordinator/api/server.h"
#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::api {

using http::problem;
using http::Request;
using http::Response;
using http::status_of;

Response problem(int status, const std::string& detail, const std::string& request_id,
                 const std::vector<jobs::SpecFault>& faults);

std::string health_json();
std::string version_json(const ServerOptions& options);
std::string ready_json(bool ready, const std::string& reasons);

// Whether a job document (API.md) is in a final state.
bool is_terminal(const std::string& job_document);

}  // namespace trireme::coordinator::api

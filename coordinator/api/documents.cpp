#include "coordinator/api/documents.h"

#include <nlohmann/json.hpp>

#include "jobs/protocol/messages.h"

namespace trireme::coordinator::api {
namespace {
using nlohmann::ordered_json;

// Whatever a fault quotes may not be UTF-8.
std::string dumped(const ordered_json& document) {
  return document.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

Response problem(int status, const std::string& detail, const std::string& request_id,
                 const std::vector<jobs::SpecFault>& faults) {
  std::vector<http::Fault> plain;
  for (const auto& fault : faults) plain.push_back({fault.pointer, fault.code, fault.detail, fault.hint});
  return http::problem(status, detail, request_id, plain);
}

std::string health_json() {
  return dumped({{"status", "ok"}});
}

std::string version_json(const ServerOptions& options) {
  return dumped({{"name", "trireme"},
                 {"version", options.version},
                 {"protocol", jobs::kProtocolVersion},
                 {"run_id", options.run_id},
                 {"incarnation", options.incarnation.value}});
}

std::string ready_json(bool ready, const std::string& reasons) {
  return dumped({{"ready", ready}, {"reasons", reasons}});
}

bool is_terminal(const std::string& job_document) {
  const auto document = nlohmann::json::parse(job_document, nullptr, false);
  if (!document.is_object()) return false;
  const std::string state = document.value("state", "");
  return state == "SUCCEEDED" || state == "FAILED" || state == "CANCELLED";
}

}  // namespace trireme::coordinator::api

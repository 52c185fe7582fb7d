#include "coordinator/api/guard.h"

#include <algorithm>

#include "common/http/token.h"
#include "coordinator/api/documents.h"

namespace trireme::coordinator::api {
namespace {

using http::lower;

bool has_token(const Request& head, const std::string& token) {
  if (head.headers.count("authorization") != 1) return false;
  const std::string given = head.header("authorization");
  if (given.size() < 7 || lower(given.substr(0, 7)) != "bearer ") return false;
  return http::same_token(given.substr(7), token);
}

// Refusals that hold whatever the path is: those that a browser's page would run into.
std::optional<Response> foreign(const Request& head, const GuardRules& rules) {
  const auto refuse = [&](int status, const std::string& detail) {
    return problem(status, detail, head.request_id);
  };
  if (head.headers.count("host") != 1) return refuse(400, "exactly one Host header is needed");
  const std::string host = host_without_port(head.header("host"));
  if (std::find(rules.hosts.begin(), rules.hosts.end(), host) == rules.hosts.end())
    return refuse(403,
                  "Host is not one of this server's names; call it by its listening address, or allow the "
                  "name with --allow-host");
  if (head.headers.count("origin") != 0) return refuse(403, "requests from web pages (Origin) are refused");
  const std::string site = lower(head.header("sec-fetch-site"));
  if (!site.empty() && site != "none" && site != "same-origin")
    return refuse(403, "cross-site requests (Sec-Fetch-Site) are refused");
  return std::nullopt;
}

}  // namespace

Admission admit(const Request& head, const GuardRules& rules) {
  Admission admission;
  const auto refuse = [&](int status, const std::string& detail) {
    admission.refused = problem(status, detail, head.request_id);
    return admission;
  };
  if (auto refused = foreign(head, rules)) {
    admission.refused = std::move(refused);
    return admission;
  }
  admission.target = parse_target(head.target);
  admission.match = match_endpoint(head.method, admission.target);
  if (!admission.match.open && !rules.token.empty() && !has_token(head, rules.token))
    return refuse(
        401,
        "the token is missing or wrong; send Authorization: Bearer <content of the run folder's token file>");
  if (!admission.target.valid) return refuse(400, "the request target is malformed");
  if (!admission.match.path_known) return refuse(404, "no such endpoint");
  if (admission.match.endpoint == nullptr) {
    refuse(405, "this endpoint allows " + admission.match.allow);
    admission.refused->headers.emplace_back("Allow", admission.match.allow);
    return admission;
  }
  if (admission.match.endpoint->has_body && !http::has_media_type(head, "application/json"))
    return refuse(415, "Content-Type: application/json is required");
  return admission;
}

}  // namespace trireme::coordinator::api

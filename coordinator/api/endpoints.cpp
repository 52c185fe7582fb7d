#include "coordinator/api/endpoints.h"

#include <algorithm>
#include <optional>

namespace trireme::coordinator::api {
namespace {

bool is_job_id(std::string_view text) {
  return !text.empty() && text.size() <= 128 && text[0] != '.' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                  c == '_' || c == '.';
         });
}

// The id when the path fits the pattern ("" for patterns without one).
std::optional<std::string> fits(std::string_view pattern, std::string_view path) {
  const std::size_t hole = pattern.find("{id}");
  if (hole == std::string_view::npos) return pattern == path ? std::optional<std::string>("") : std::nullopt;
  const std::string_view before = pattern.substr(0, hole), after = pattern.substr(hole + 4);
  if (path.size() <= before.size() + after.size() || path.substr(0, before.size()) != before ||
      path.substr(path.size() - after.size()) != after)
    return std::nullopt;
  const std::string_view id = path.substr(before.size(), path.size() - before.size() - after.size());
  return is_job_id(id) ? std::optional<std::string>(id) : std::nullopt;
}

}  // namespace

const std::vector<Endpoint>& endpoints() {
  static const std::vector<Endpoint> table{
      {Action::kHealth, "GET", "/healthz", true},
      {Action::kReady, "GET", "/readyz", true},
      {Action::kVersion, "GET", "/version", true},
      {Action::kDiscovery, "GET", "/api/v1/sd", true},
      {Action::kSubmit, "POST", "/api/v1/jobs", false, true},
      {Action::kList, "GET", "/api/v1/jobs"},
      {Action::kDescribe, "GET", "/api/v1/jobs/{id}"},
      {Action::kSpec, "GET", "/api/v1/jobs/{id}/spec"},
      {Action::kEvents, "GET", "/api/v1/jobs/{id}/events"},
      {Action::kLogs, "GET", "/api/v1/jobs/{id}/logs"},
      {Action::kReport, "GET", "/api/v1/jobs/{id}/report"},
      {Action::kCancel, "POST", "/api/v1/jobs/{id}:cancel"},
      {Action::kPlan, "POST", "/api/v1/plan", false, true},
  };
  return table;
}

Match match_endpoint(std::string_view method, const Target& target) {
  Match match;
  for (const Endpoint& endpoint : endpoints()) {
    const auto id = fits(endpoint.pattern, target.path);
    if (!id) continue;
    match.path_known = true;
    match.open = match.open || endpoint.open;
    match.allow += (match.allow.empty() ? "" : ", ") + std::string(endpoint.method);
    if (endpoint.method != method) continue;
    match.endpoint = &endpoint;
    match.job_id = *id;
  }
  return match;
}

}  // namespace trireme::coordinator::api

#include "coordinator/api/endpoints.h"

#include <algorithm>
#include <optional>

namespace trireme::coordinator::api {
namespace {

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const auto high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (!high || !low || (*high == 0 && *low == 0)) return std::nullopt;
      out += static_cast<char>(*high * 16 + *low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

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

Target parse_target(std::string_view target) {
  Target parsed;
  if (target.empty() || target[0] != '/') return parsed;
  const std::size_t mark = target.find('?');
  parsed.path = target.substr(0, mark);
  parsed.valid = true;
  if (mark == std::string_view::npos) return parsed;
  std::string_view rest = target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    const auto name = decoded(pair.substr(0, equals));
    const auto value =
        decoded(equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1));
    if (!name || !value)
      parsed.valid = false;
    else
      parsed.query.emplace(*name, *value);
  }
  return parsed;
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

#include "coordinator/serve/door.h"

#include <algorithm>

#include "common/http/problem.h"
#include "common/http/token.h"

namespace trireme::coordinator::serve {
namespace {

using http::problem;
using http::Request;
using http::Response;

constexpr std::string_view kCookie = "trireme_search";
constexpr std::size_t kMostVisits = 4096, kMostKeys = 256;

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 200 && text[0] != '.' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                  c == '_' || c == '.';
         });
}

std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 1; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    parts.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

bool fits(const Route& route, const std::string& path, Admission& admission) {
  const auto expected = parts_of(route.pattern), given = parts_of(path);
  if (expected.size() != given.size()) return false;
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (expected[i] == given[i]) continue;
    if ((expected[i] != "{index}" && expected[i] != "{id}") || !is_name(given[i])) return false;
    (expected[i] == "{index}" ? admission.index : admission.id) = given[i];
  }
  return true;
}

std::string cookie_of(const Request& head) {
  if (head.headers.count("cookie") != 1) return "";
  const std::string all = "; " + head.header("cookie") + ";", name = "; " + std::string(kCookie) + "=";
  const std::size_t at = all.find(name);
  if (at == std::string::npos) return "";
  const std::size_t first = at + name.size();
  return all.substr(first, all.find(';', first) - first);
}

std::string bearer_of(const Request& head) {
  if (head.headers.count("authorization") != 1) return "";
  const std::string given = head.header("authorization");
  return given.size() > 7 && http::lower(given.substr(0, 7)) == "bearer " ? given.substr(7) : "";
}

}  // namespace

const std::vector<Route>& routes() {
  static const std::vector<Route> table{
      {Action::kPage, "GET", "/"},
      {Action::kScript, "GET", "/search.js"},
      {Action::kStyle, "GET", "/search.css"},
      {Action::kOpenApi, "GET", "/openapi.json"},
      {Action::kHealth, "GET", "/healthz", true},
      {Action::kReady, "GET", "/readyz", true},
      {Action::kMetrics, "GET", "/metrics"},
      {Action::kIndexes, "GET", "/api/v1/indexes"},
      {Action::kSearch, "POST", "/api/v1/search", false, true},
      {Action::kEmbed, "POST", "/api/v1/embed", false, true},
      {Action::kItem, "GET", "/api/v1/items/{index}/{id}"},
      {Action::kThumbnail, "GET", "/api/v1/thumbnails/{index}/{id}"},
      {Action::kKnn, "POST", "/knn-service"},
      {Action::kMetadata, "POST", "/metadata"},
      {Action::kIndicesList, "GET", "/indices-list"},
      {Action::kEnter, "GET", "/enter", true},
      {Action::kLink, "POST", "/api/v1/links", false, true},
  };
  return table;
}

Door::Door(std::vector<std::string> hosts, std::string token)
    : hosts_(std::move(hosts)), token_(std::move(token)) {}

std::optional<Response> Door::foreign(const Request& head, const Route* route) const {
  const auto refuse = [&](int status, const std::string& detail) {
    return problem(status, detail, head.request_id);
  };
  if (head.headers.count("host") != 1) return refuse(400, "exactly one Host header is needed");
  const std::string host = http::lower(head.header("host"));
  if (std::find(hosts_.begin(), hosts_.end(), http::host_without_port(host)) == hosts_.end())
    return refuse(
        403,
        "Host is not one of this server's names; call it by its listening address, or allow the name with "
        "--allow-host");
  if (head.headers.count("origin") > 1 ||
      (head.headers.count("origin") == 1 && http::lower(head.header("origin")) != "http://" + host))
    return refuse(403, "requests from pages of other addresses (Origin) are refused");
  const std::string site = http::lower(head.header("sec-fetch-site"));
  // A link on another page may lead here.
  const bool followed = route != nullptr &&
                        (route->action == Action::kPage || route->action == Action::kEnter) &&
                        http::lower(head.header("sec-fetch-mode")) == "navigate";
  if (!site.empty() && site != "none" && site != "same-origin" && !followed)
    return refuse(403, "cross-site requests (Sec-Fetch-Site) are refused");
  return std::nullopt;
}

bool Door::may_enter(const Request& head) const {
  if (token_.empty()) return true;
  if (http::same_token(bearer_of(head), token_)) return true;
  const std::string cookie = cookie_of(head);
  return !cookie.empty() && visits_.contains(cookie);  // 256 random bits: nothing to be learnt from the time
}

Admission Door::admit(const Request& head) const {
  Admission admission;
  const auto refuse = [&](int status, const std::string& detail) {
    admission.refused = problem(status, detail, head.request_id);
    return admission;
  };
  admission.target = http::parse_target(head.target);
  std::string allowed;
  for (const Route& route : routes()) {
    if (!admission.target.valid || !fits(route, admission.target.path, admission)) continue;
    allowed = route.method;
    if (route.method == head.method) admission.route = &route;
  }
  if (auto refused = foreign(head, admission.route)) {
    admission.refused = std::move(refused);
    return admission;
  }
  if (!(admission.route != nullptr && admission.route->open) && !may_enter(head))
    return refuse(
        401,
        "this service wants Authorization: Bearer with the content of its token file, or the link that it "
        "printed when it started");
  if (!admission.target.valid) return refuse(400, "the request target is malformed");
  if (allowed.empty()) return refuse(404, "no such address");
  if (admission.route == nullptr) {
    refuse(405, "this address allows " + allowed);
    admission.refused->headers.emplace_back("Allow", allowed);
    return admission;
  }
  if (admission.route->json && !http::has_media_type(head, "application/json"))
    return refuse(415, "Content-Type: application/json is required");
  return admission;
}

std::string Door::new_key() {
  if (keys_.size() >= kMostKeys) keys_.erase(keys_.begin());
  return *keys_.insert(http::random_hex()).first;
}

std::optional<std::string> Door::enter(const std::string& key) {
  if (keys_.erase(key) == 0) return std::nullopt;
  if (visits_.size() >= kMostVisits) visits_.erase(visits_.begin());
  const std::string visit = *visits_.insert(http::random_hex()).first;
  return std::string(kCookie) + "=" + visit + "; Path=/; HttpOnly; SameSite=Strict";
}

}  // namespace trireme::coordinator::serve

// Who may come in: Host, Origin, token, route and content type, decided from the header alone, before a body
// is read. Default-deny.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/api/endpoints.h"
#include "coordinator/api/messages.h"

namespace trireme::coordinator::api {

struct GuardRules {
  std::vector<std::string> hosts;  // lower case, without port
  std::string token;               // "": none is asked for
};

struct Admission {
  std::optional<Response> refused;
  Match match;
  Target target;
};
Admission admit(const Request& head, const GuardRules& rules);

// "localhost:80" -> "localhost", "[::1]:80" -> "[::1]"; lower case.
std::string host_without_port(std::string_view host);

}  // namespace trireme::coordinator::api

// Who may come in: Host, Origin, token, route and content type, decided from the header alone, before a body
// is read. Default-deny.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/api/endpoints.h"

namespace trireme::coordinator::api {

using http::host_without_port;
using http::Request;
using http::Response;

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

}  // namespace trireme::coordinator::api

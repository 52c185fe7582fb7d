// The one table of endpoints. What is not in it is refused; a request is matched before its body is read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/http/target.h"

namespace trireme::coordinator::api {

using http::parse_target;
using http::Target;

enum class Action {
  kHealth,
  kReady,
  kVersion,
  kDiscovery,
  kSubmit,
  kList,
  kDescribe,
  kSpec,
  kEvents,
  kLogs,
  kReport,
  kCancel,
  kPlan
};

struct Endpoint {
  Action action;
  std::string_view method;
  std::string_view pattern;  // "/api/v1/jobs/{id}:cancel"
  bool open = false;         // answered without the token
  bool has_body = false;     // a JSON body is required
};
const std::vector<Endpoint>& endpoints();

struct Match {
  const Endpoint* endpoint = nullptr;  // path and method are known
  bool path_known = false;
  bool open = false;   // the path is public
  std::string allow;   // methods of the path, for 405
  std::string job_id;  // {id}: [A-Za-z0-9._-]{1,128}, not starting with a dot
};
Match match_endpoint(std::string_view method, const Target& target);

}  // namespace trireme::coordinator::api

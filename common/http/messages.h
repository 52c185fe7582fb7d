// A request and its answer as the handlers see them: no Beast, no sockets.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace trireme::http {

struct Request {
  std::string method, target, body;
  std::string request_id;
  std::multimap<std::string, std::string> headers;  // names in lower case
  // The only value of a header; "" when absent.
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};
};

}  // namespace trireme::http

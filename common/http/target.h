// What a request names, and small questions about its header.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "common/http/messages.h"

namespace trireme::http {

struct Target {
  std::string path;                          // as sent, without the query
  std::map<std::string, std::string> query;  // decoded; of repeated names the first
  bool valid = false;                        // origin form with sound %-escapes
};
Target parse_target(std::string_view target);

// ASCII.
std::string lower(std::string_view text);

// "localhost:80" -> "localhost", "[::1]:80" -> "[::1]"; lower case.
std::string host_without_port(std::string_view host);

// Whether the one Content-Type is `type`, whatever its parameters are.
bool has_media_type(const Request& head, std::string_view type);

}  // namespace trireme::http

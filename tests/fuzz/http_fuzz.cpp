// Any bytes as requests of one connection: parsed, matched and admitted as the API does before a body is
// read. Nothing but an open route is let in without the token, and what is let in with it has a route and a
// sound target.
#include <cstdlib>

#include "common/http/connection.h"
#include "coordinator/api/guard.h"

namespace {

void judge(const trireme::http::Request& request) {
  using namespace trireme::coordinator::api;
  const std::string token = "0123456789abcdef";
  const bool has_token = request.header("authorization").ends_with(token);
  const auto anybody = admit(request, {{"localhost"}, token});
  if (!anybody.refused && (anybody.match.endpoint == nullptr || !(anybody.match.open || has_token)))
    std::abort();
  const auto known = admit(request, {{"localhost"}, ""});
  if (!known.refused && (known.match.endpoint == nullptr || !known.target.valid)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme::http;
  namespace beast = boost::beast;
  const Limits limits;
  net::const_buffer left(data, size);
  for (int requests = 0; requests < 8 && left.size() > 0; ++requests) {
    Connection::Parser parser;
    parser.header_limit(limits.header_limit_bytes);
    parser.body_limit(limits.body_limit_bytes);
    parser.eager(true);
    error_code fault;
    while (left.size() > 0 && !parser.is_done()) {
      const std::size_t taken = parser.put(left, fault);
      left += taken;
      if (fault || taken == 0) break;
    }
    if (fault) {
      refusal_of(fault, limits, "id");
      return 0;
    }
    if (!parser.is_header_done()) return 0;
    if (parser.get().body().size() > limits.body_limit_bytes) std::abort();
    judge(request_of(parser, "id"));
    if (!parser.is_done()) return 0;
  }
  return 0;
}

// A small blocking HTTP/1.1 client for the coordinator's API.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace trireme::coordinator::cli {

struct HttpCall {
  std::string host;  // "127.0.0.1", "[::1]"
  int port = 0;
  std::string method = "GET", target, body;
  std::map<std::string, std::string> headers;
  std::chrono::seconds silence_limit{60};  // without a byte from the server
};

struct HttpAnswer {
  int status = 0;
  std::string content_type, body;
};

// Throws kUnavailable when nobody listens, kTryAgain when the connection breaks or stays silent.
HttpAnswer http_call(const HttpCall& call);

// Hands every piece of a 200 answer to `sink` as it comes, until it ends or `sink` says false; any other
// status is returned with its body.
HttpAnswer http_stream(const HttpCall& call, const std::function<bool(std::string_view)>& sink);

}  // namespace trireme::coordinator::cli

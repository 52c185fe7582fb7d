// Answers Prometheus: GET /metrics, on a thread of its own, within the limits of common/http.
#pragma once

#include <functional>
#include <string>

#include "common/http/listener.h"

namespace trireme::telemetry {

class Exporter {
 public:
  // `exposition` is called on the exporter's thread and outlives it. With a `token` a scrape without
  // "Authorization: Bearer <token>" is answered 401. Throws kConflict when the port is taken, kUnavailable
  // when it is no address of this machine, kUsage when it is none at all.
  Exporter(const std::string& host, int port, std::string token, std::function<std::string()> exposition);

  int port() const { return listener_.port(); }

 private:
  http::net::awaitable<bool> serve_one(http::SharedConnection connection);
  http::Response answer(const http::Request& request) const;

  const http::Limits limits_;
  const std::string expected_;  // the value of Authorization; empty: none is asked
  const std::function<std::string()> exposition_;
  http::Listener listener_;  // ends before what it uses
};

}  // namespace trireme::telemetry

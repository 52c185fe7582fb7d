// GCC 12 takes the frame of an inlined coroutine for memory of another allocator.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#include "common/telemetry/exporter.h"

#include "common/http/target.h"
#include "common/http/token.h"

namespace trireme::telemetry {
namespace {

constexpr const char* kFormat = "text/plain; version=0.0.4; charset=utf-8";

http::Response text(int status, std::string body) {
  return {status, kFormat, std::move(body)};
}

}  // namespace

Exporter::Exporter(const std::string& host, int port, std::string token,
                   std::function<std::string()> exposition)
    : expected_(token.empty() ? "" : "Bearer " + token),
      exposition_(std::move(exposition)),
      listener_(http::parse_address(host + ":" + std::to_string(port), "--metrics-listen"), limits_,
                [this](http::SharedConnection connection) { return serve_one(std::move(connection)); }) {
  listener_.start();
}

http::net::awaitable<bool> Exporter::serve_one(http::SharedConnection connection) {
  http::Connection::Parser parser;
  if (co_await connection->read_header(parser)) co_return false;
  if (!co_await listener_.let_in(*connection)) {
    co_await connection->refuse(text(429, "too many scrapes at once\n"), "");
    co_return false;
  }
  connection->answering = true;
  if (co_await connection->read_body(parser)) co_return false;
  const http::Request request = http::request_of(parser, "");
  const bool go_on = co_await connection->send(answer(request), "", parser.get().keep_alive());
  connection->quiet_since = std::chrono::steady_clock::now();
  connection->answering = false;
  co_return go_on;
}

http::Response Exporter::answer(const http::Request& request) const {
  if (!expected_.empty() && !http::same_token(request.header("authorization"), expected_)) {
    http::Response refused = text(401, "a bearer token is needed\n");
    refused.headers.emplace_back("WWW-Authenticate", "Bearer");
    return refused;
  }
  if (http::parse_target(request.target).path != "/metrics") return text(404, "only /metrics is here\n");
  if (request.method != "GET") return text(405, "metrics are only read\n");
  return text(200, exposition_());
}

}  // namespace trireme::telemetry

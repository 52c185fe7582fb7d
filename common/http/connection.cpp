#include "common/http/connection.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <sys/socket.h>
#include <boost/asio/write.hpp>

#include "common/http/problem.h"

namespace trireme::http {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;  // inside: ours is the one around it
using tcp = net::ip::tcp;

constexpr std::uint64_t kMostDrained = 4U << 20;

template <class Message>
void set_common_fields(Message& message, const Response& response, const std::string& request_id) {
  message.set(http::field::content_type, response.content_type);
  message.set(http::field::cache_control, "no-store");
  message.set("X-Content-Type-Options", "nosniff");
  if (!request_id.empty()) message.set("X-Request-Id", request_id);
  for (const auto& [name, value] : response.headers) message.set(name, value);
}

}  // namespace

Connection::Connection(tcp::socket socket, net::ip::address from, const Limits& limits)
    : address(std::move(from)),
      stream(std::move(socket)),
      buffer(limits.header_limit_bytes + (128U << 10)),
      timer(stream.get_executor()),
      limits_(limits) {}

bool Connection::peer_gone() {
  char next = 0;
  return stream.socket().is_open() &&
         ::recv(stream.socket().native_handle(), &next, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

net::awaitable<error_code> Connection::read_some(std::chrono::milliseconds deadline) {
  stream.expires_after(deadline);
  const auto [code, got] = co_await stream.async_read_some(buffer.prepare(4096), kAwait);
  if (!code) buffer.commit(got);
  co_return code;
}

net::awaitable<error_code> Connection::read_header(Parser& parser) {
  parser.header_limit(limits_.header_limit_bytes);
  parser.body_limit(limits_.body_limit_bytes);
  stream.expires_after(limits_.header_deadline);
  const auto [code, got] = co_await http::async_read_header(stream, buffer, parser, kAwait);
  co_return code;
}

net::awaitable<error_code> Connection::read_body(Parser& parser) {
  if (parser.is_done()) co_return error_code();
  stream.expires_after(limits_.body_deadline);
  if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    const auto [code, sent] = co_await net::async_write(stream, net::buffer(kContinue), kAwait);
    if (code) co_return code;
  }
  const auto [code, got] = co_await http::async_read(stream, buffer, parser, kAwait);
  co_return code;
}

net::awaitable<bool> Connection::send(Response response, std::string request_id, bool keep_alive) {
  http::response<http::string_body> message{static_cast<http::status>(response.status), 11};
  set_common_fields(message, response, request_id);
  message.keep_alive(keep_alive);
  message.body() = std::move(response.body);
  message.prepare_payload();
  stream.expires_after(limits_.write_deadline);
  const auto [code, sent] = co_await http::async_write(stream, message, kAwait);
  co_return !code && keep_alive;
}

net::awaitable<void> Connection::refuse(Response response, std::string request_id) {
  quiet_since = std::chrono::steady_clock::now();
  co_await send(std::move(response), std::move(request_id), false);
  error_code ignored;
  stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
  stream.expires_after(std::chrono::seconds(1));
  std::array<char, 16384> dropped{};
  for (std::uint64_t total = 0; total < kMostDrained + limits_.body_limit_bytes;) {
    const auto [code, got] = co_await stream.async_read_some(net::buffer(dropped), kAwait);
    if (code) break;
    total += got;
  }
}

net::awaitable<bool> Connection::start_chunks(const Response& response, const std::string& request_id) {
  http::response<http::empty_body> message{http::status::ok, 11};
  set_common_fields(message, response, request_id);
  message.chunked(true);
  message.keep_alive(false);
  http::response_serializer<http::empty_body> serializer{message};
  stream.expires_after(limits_.write_deadline);
  const auto [code, sent] = co_await http::async_write_header(stream, serializer, kAwait);
  co_return !code;
}

net::awaitable<bool> Connection::send_chunk(const std::string& text) {
  stream.expires_after(limits_.write_deadline);
  const auto [code, sent] = co_await net::async_write(stream, http::make_chunk(net::buffer(text)), kAwait);
  co_return !code;
}

net::awaitable<void> Connection::end_chunks() {
  stream.expires_after(limits_.write_deadline);
  co_await net::async_write(stream, http::make_chunk_last(), kAwait);
}

Request request_of(const Connection::Parser& parser, std::string request_id) {
  Request request;
  const auto& message = parser.get();
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  request.request_id = std::move(request_id);
  for (const auto& field : message) {
    std::string name(field.name_string());
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    request.headers.emplace(std::move(name), std::string(field.value()));
  }
  return request;
}

std::optional<Response> refusal_of(error_code code, const Limits& limits, const std::string& request_id) {
  if (code == http::error::header_limit) return problem(431, "the header is larger than 8 KiB", request_id);
  if (code == http::error::buffer_overflow) return problem(431, "the header is too large", request_id);
  if (code == http::error::body_limit)
    return problem(413, "the body is larger than " + std::to_string(limits.body_limit_bytes >> 20) + " MiB",
                   request_id);
  if (code == http::error::end_of_stream || code == http::error::partial_message) return std::nullopt;
  if (code.category() == http::make_error_code(http::error::bad_method).category())
    return problem(400, "this is not a well-formed HTTP request", request_id);
  return std::nullopt;
}

}  // namespace trireme::http

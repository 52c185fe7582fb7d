#include "coordinator/cli/client/http_client.h"

#include <array>

#include <sys/socket.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "common/base/error.h"

namespace trireme::coordinator::cli {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Socket = net::ip::tcp::socket;

constexpr std::uint64_t kMostBytes = 256U << 20;

Error broken(const HttpCall& call, const error_code& code) {
  return Error(ErrorKind::kTryAgain, "the connection to " + call.host + ":" + std::to_string(call.port) +
                                         " broke: " + code.message());
}

void connect(Socket& socket, const HttpCall& call) {
  std::string bare = call.host;
  if (bare.size() > 2 && bare.front() == '[') bare = bare.substr(1, bare.size() - 2);
  error_code code;
  const auto address = net::ip::make_address(bare, code);
  if (!code) socket.connect({address, static_cast<unsigned short>(call.port)}, code);
  if (code)
    throw Error(ErrorKind::kUnavailable,
                "cannot reach the coordinator at " + call.host + ":" + std::to_string(call.port) + ": " +
                    code.message(),
                "is it still running? 'trireme launch' starts one");
  const timeval limit{call.silence_limit.count(), 0};
  ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

void send(Socket& socket, const HttpCall& call) {
  http::request<http::string_body> request;
  request.method_string(call.method);
  request.target(call.target);
  request.version(11);
  request.set(http::field::host, call.host + ":" + std::to_string(call.port));
  request.keep_alive(false);
  for (const auto& [name, value] : call.headers) request.set(name, value);
  request.body() = call.body;
  request.prepare_payload();
  error_code code;
  http::write(socket, request, code);
  // The server may refuse and stop reading early; its answer is still to be read.
  if (code && code != net::error::broken_pipe && code != net::error::connection_reset)
    throw broken(call, code);
}

}  // namespace

HttpAnswer http_call(const HttpCall& call) {
  net::io_context io;
  Socket socket(io);
  connect(socket, call);
  send(socket, call);
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMostBytes);
  error_code code;
  http::read(socket, buffer, parser, code);
  if (code) throw broken(call, code);
  auto& message = parser.get();
  return {static_cast<int>(message.result_int()), std::string(message[http::field::content_type]),
          std::move(message.body())};
}

HttpAnswer http_stream(const HttpCall& call, const std::function<bool(std::string_view)>& sink) {
  net::io_context io;
  Socket socket(io);
  connect(socket, call);
  send(socket, call);
  beast::flat_buffer buffer;
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  error_code code;
  http::read_header(socket, buffer, parser, code);
  if (code) throw broken(call, code);
  HttpAnswer answer{static_cast<int>(parser.get().result_int()),
                    std::string(parser.get()[http::field::content_type]), ""};
  std::array<char, 16384> part{};
  while (!parser.is_done()) {
    parser.get().body().data = part.data();
    parser.get().body().size = part.size();
    parser.get().body().more = true;
    http::read_some(socket, buffer, parser, code);
    if (code == http::error::need_buffer) code = {};
    if (code) throw broken(call, code);
    const std::string_view got(part.data(), part.size() - parser.get().body().size);
    if (answer.status != 200)
      answer.body += got;
    else if (!got.empty() && !sink(got))
      break;
  }
  return answer;
}

}  // namespace trireme::coordinator::cli

// GCC 12 takes the frame of an inlined coroutine for memory of another allocator.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#include "coordinator/serve/remote_service.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/http/connection.h"

namespace trireme::coordinator::serve {
namespace {

namespace beast = boost::beast;
using boost::system::error_code;
using http::kAwait;

constexpr std::chrono::seconds kConnect{3};
constexpr std::uint64_t kMostBytes = 256U << 20;
constexpr std::size_t kMostKept = 64;

}  // namespace

std::string detail_of(const RemoteAnswer& answer) {
  const auto json = nlohmann::json::parse(answer.body, nullptr, false);
  return json.is_object() ? json.value("detail", "") : "";
}

struct RemoteService::Exchange {
  beast::http::request<beast::http::string_body> request;
  RemoteAnswer answer;
  bool keep = false, silent = false;
};

RemoteService::RemoteService(net::io_context& io, const std::string& address, std::string token)
    : io_(io), token_(std::move(token)) {
  const std::string scheme = "http://";
  const std::size_t slash = address.find('/', scheme.size());
  url_ = address.substr(0, slash);
  if (slash != std::string::npos) index_ = address.substr(slash + 1);
  const std::size_t colon = url_.rfind(':');
  if (!address.starts_with(scheme) || colon < scheme.size() || colon + 1 >= url_.size() ||
      url_.find_first_not_of("0123456789", colon + 1) != std::string::npos ||
      index_.find('/') != std::string::npos)
    throw Error(ErrorKind::kUsage, "'" + address + "' is no address of a search service",
                "give http://HOST:PORT, and /INDEX behind it where it serves several");
  host_ = url_.substr(scheme.size(), colon - scheme.size());
  port_ = url_.substr(colon + 1);
}

net::awaitable<RemoteService::Stream> RemoteService::connected() {
  const bool bracketed = host_.size() > 2 && host_.front() == '[';
  const std::string bare = bracketed ? host_.substr(1, host_.size() - 2) : host_;
  net::ip::tcp::resolver resolver(io_);
  const auto [unknown, found] = co_await resolver.async_resolve(bare, port_, kAwait);
  if (unknown) co_return nullptr;
  auto stream = std::make_unique<beast::tcp_stream>(io_);
  stream->expires_after(kConnect);
  const auto [refused, at] = co_await stream->async_connect(found, kAwait);
  if (refused) co_return nullptr;
  error_code ignored;
  stream->socket().set_option(net::ip::tcp::no_delay(true), ignored);
  co_return std::move(stream);
}

// False: the connection broke, and nothing came.
net::awaitable<bool> RemoteService::exchange(Exchange& one, beast::tcp_stream& stream,
                                             std::chrono::milliseconds limit) {
  stream.expires_after(limit);
  const auto [unsent, sent] = co_await beast::http::async_write(stream, one.request, kAwait);
  error_code failed = unsent;
  if (!failed) {
    beast::flat_buffer buffer;
    beast::http::response_parser<beast::http::string_body> parser;
    parser.body_limit(kMostBytes);
    const auto [unread, got] = co_await beast::http::async_read(stream, buffer, parser, kAwait);
    failed = unread;
    if (!failed) {
      one.answer = {static_cast<int>(parser.get().result_int()), std::move(parser.get().body())};
      one.keep = parser.get().keep_alive();
    }
  }
  one.silent = failed == beast::error::timeout;
  co_return !failed;
}

net::awaitable<RemoteAnswer> RemoteService::call(std::string method, std::string target, std::string body,
                                                 std::chrono::milliseconds limit) {
  Exchange one;
  one.request.method_string(method);
  one.request.target(target);
  one.request.version(11);
  one.request.set(beast::http::field::host, host_ + ":" + port_);
  if (!token_.empty()) one.request.set(beast::http::field::authorization, "Bearer " + token_);
  if (!body.empty()) one.request.set(beast::http::field::content_type, "application/json");
  one.request.body() = std::move(body);
  one.request.prepare_payload();
  for (bool fresh = false; !fresh;) {  // a kept connection may have ended meanwhile; calls only read
    fresh = kept_.empty();
    Stream stream;
    if (fresh) {
      stream = co_await connected();
    } else {
      stream = std::move(kept_.back());
      kept_.pop_back();
    }
    if (!stream) break;
    const bool answered = co_await exchange(one, *stream, limit);
    if (answered) {
      if (one.keep && kept_.size() < kMostKept) kept_.push_back(std::move(stream));
      break;
    }
    if (one.silent) break;
  }
  co_return std::move(one.answer);
}

}  // namespace trireme::coordinator::serve

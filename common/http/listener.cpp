#include "common/http/listener.h"

#include <algorithm>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>

#include "common/base/error.h"
#include "common/base/log.h"

namespace trireme::http {

using tcp = net::ip::tcp;

Address parse_address(const std::string& text, const std::string& option) {
  const Error bad(ErrorKind::kUsage, "'" + text + "' is not an address to listen on (" + option + ")",
                  "give ADDRESS:PORT, for example 127.0.0.1:8080, [::1]:8080 or HOST:8080");
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) throw bad;
  std::string host = text.substr(0, colon);
  const std::string digits = text.substr(colon + 1);
  if (digits.empty() || digits.size() > 5 || digits.find_first_not_of("0123456789") != std::string::npos)
    throw bad;
  const int port = std::stoi(digits);
  if (port > 65535) throw bad;
  if (host == "localhost") host = "127.0.0.1";
  std::string bare = host;
  if (bare.size() > 2 && bare.front() == '[' && bare.back() == ']') bare = bare.substr(1, bare.size() - 2);
  error_code code;
  auto address = net::ip::make_address(bare, code);
  if (code) {
    net::io_context context;
    const auto found = tcp::resolver(context).resolve(tcp::v4(), bare, digits, code);
    if (code || found.empty()) throw bad;
    address = found.begin()->endpoint().address();
  }
  return {host, {address, static_cast<unsigned short>(port)}, option};
}

Listener::Listener(const Address& wanted, const Limits& limits, Serve serve)
    : limits_(limits), serve_(std::move(serve)) {
  const std::string text = wanted.host + ":" + std::to_string(wanted.endpoint.port());
  error_code code;
  acceptor_.open(wanted.endpoint.protocol(), code);
  if (!code) acceptor_.set_option(net::socket_base::reuse_address(true), code);
  if (!code) acceptor_.bind(wanted.endpoint, code);
  if (!code) acceptor_.listen(256, code);
  if (code == net::error::address_in_use)
    throw Error(
        ErrorKind::kConflict, "cannot listen on " + text + ": the port is in use",
        "stop the program that holds it, or choose another " + wanted.option + " (port 0 takes a free one)");
  if (code == boost::system::errc::address_not_available)
    throw Error(ErrorKind::kUsage, "cannot listen on " + text + ": this host has no such address",
                "choose one of its own with " + wanted.option);
  if (code)
    throw Error(ErrorKind::kUnavailable, "cannot listen on " + text + ": " + code.message(),
                "choose another " + wanted.option);
  port_ = acceptor_.local_endpoint().port();
  const bool v6 = wanted.endpoint.address().is_v6();
  const std::string local =
      wanted.endpoint.address().is_unspecified() ? (v6 ? "[::1]" : "127.0.0.1") : wanted.host;
  url_ = "http://" + local + ":" + std::to_string(port_);
}

Listener::~Listener() {
  stop();
}

void Listener::start() {
  net::co_spawn(io_, accept_loop(), net::detached);
  thread_ = std::thread([this] { io_.run(); });
}

void Listener::stop() {
  if (!thread_.joinable()) return;
  net::post(io_, [this] {
    stopping_ = true;
    error_code ignored;
    acceptor_.close(ignored);
    for (const SharedConnection& connection : connections_) {
      connection->stream.close();
      connection->timer.cancel();
    }
  });
  thread_.join();
}

namespace {

// Whether a connection waits for nothing of ours: one that came, or whose answer left, only just now may not
// have been heard or read yet.
constexpr std::chrono::milliseconds kMoment{250};
bool may_be_cut(const Connection& connection) {
  return !connection.answering && std::chrono::steady_clock::now() - connection.quiet_since >= kMoment;
}

}  // namespace

// Against the limits: of all, or of one address.
bool Listener::counts(const Connection& one, const net::ip::address* address) const {
  return one.stream.socket().is_open() && !one.following && !one.spare &&
         (address == nullptr || one.address == *address);
}

// Cuts the oldest connection that waits for nothing of ours, so that idle and slow ones never lock others
// out.
bool Listener::make_room(const net::ip::address& address) {
  const auto cut_oldest = [&](const net::ip::address* of) {
    for (const SharedConnection& connection : connections_) {
      if (!counts(*connection, of) || !may_be_cut(*connection)) continue;
      connection->stream.close();
      return true;
    }
    return false;
  };
  const auto open = [&](const net::ip::address* of) {
    return static_cast<std::size_t>(
        std::count_if(connections_.begin(), connections_.end(),
                      [&](const SharedConnection& one) { return counts(*one, of); }));
  };
  if (open(&address) >= limits_.most_connections_per_address && !cut_oldest(&address)) return false;
  return open(nullptr) < limits_.most_connections || cut_oldest(nullptr);
}

// Whether one that is in the way only has not had its moment yet.
bool Listener::may_have_room() const {
  return std::ranges::any_of(
      connections_, [&](const SharedConnection& one) { return counts(*one, nullptr) && !one->answering; });
}

// As many again are heard beyond the limits, so that a sign of life is never refused and a refusal is read
// before the connection ends; the oldest that has had its moment makes room.
bool Listener::make_spare_room() {
  std::size_t spare = 0;
  for (const SharedConnection& one : connections_) spare += one->spare && one->stream.socket().is_open();
  if (spare < limits_.most_connections) return true;
  for (const SharedConnection& one : connections_)
    if (one->spare && one->stream.socket().is_open() && may_be_cut(*one)) {
      one->stream.close();
      return true;
    }
  return false;
}

net::awaitable<bool> Listener::let_in(Connection& connection) {
  if (!connection.spare) co_return true;
  connection.answering = true;  // its request is here: nobody cuts it while it waits
  const auto until = std::chrono::steady_clock::now() + 2 * kMoment;
  bool room = make_room(connection.address);
  while (!room && !stopping_ && may_have_room() && std::chrono::steady_clock::now() < until) {
    net::steady_timer pause(io_, std::chrono::milliseconds(5));
    co_await pause.async_wait(kAwait);
    room = make_room(connection.address);
  }
  connection.answering = false;
  connection.quiet_since = std::chrono::steady_clock::now();
  connection.spare = !room;
  co_return room;
}

std::size_t Listener::followers() const {
  return static_cast<std::size_t>(std::count_if(
      connections_.begin(), connections_.end(),
      [](const SharedConnection& one) { return one->following && one->stream.socket().is_open(); }));
}

net::awaitable<void> Listener::accept_loop() {
  while (!stopping_) {
    auto [code, socket] = co_await acceptor_.async_accept(kAwait);
    if (stopping_) co_return;
    if (code) {  // out of descriptors, or the peer is gone already
      net::steady_timer pause(io_, std::chrono::milliseconds(50));
      co_await pause.async_wait(kAwait);
      continue;
    }
    error_code peer;
    const auto remote = socket.remote_endpoint(peer);
    if (peer) continue;
    const bool spare = !make_room(remote.address());
    while (spare && !stopping_ && !make_spare_room()) {  // the others wait in the system's queue
      net::steady_timer pause(io_, std::chrono::milliseconds(5));
      co_await pause.async_wait(kAwait);
    }
    if (stopping_) co_return;
    auto connection = std::make_shared<Connection>(std::move(socket), remote.address(), limits_);
    connection->spare = spare;
    connections_.push_back(connection);
    net::co_spawn(io_, session(connection), net::detached);
  }
}

net::awaitable<void> Listener::session(SharedConnection connection) {
  try {
    connection->stream.expires_after(limits_.header_deadline);
    while (!stopping_ && co_await serve_(connection)) {
      if (connection->buffer.size() > 0) continue;  // pipelined
      if (co_await connection->read_some(limits_.idle_deadline)) break;
    }
  } catch (const std::exception& error) {
    log_error("http", std::string("a connection failed: ") + error.what());
  }
  connection->stream.close();
  connections_.remove(connection);
}

}  // namespace trireme::http

#include "coordinator/api/server.h"

#include <algorithm>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <thread>

#include <unistd.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "common/io/log_tail.h"
#include "common/telemetry/metrics.h"
#include "coordinator/api/connection.h"
#include "coordinator/api/documents.h"
#include "coordinator/api/guard.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/lanes.h"
#include "coordinator/api/token.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::api {
namespace {

using tcp = net::ip::tcp;
using Shared = SharedConnection;

struct Listen {
  std::string host;
  tcp::endpoint endpoint;
};

Listen parse_listen(const std::string& text) {
  const Error bad(ErrorKind::kUsage, "'" + text + "' is not an address to listen on",
                  "give IP:PORT, for example 127.0.0.1:8080 or [::1]:8080");
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
  const auto address = net::ip::make_address(bare, code);
  if (code) throw bad;
  return {host, {address, static_cast<unsigned short>(port)}};
}

net::awaitable<void> called(std::function<void()> call) {
  call();
  co_return;
}

}  // namespace

struct Server::State {
  State(service::Face& face_in, ServerOptions options_in);
  ~State();

  void fill_defaults();
  void listen();
  net::awaitable<void> accept_loop();
  bool make_room(const net::ip::address& address);
  void make_spare_room();
  bool let_in(Connection& connection, const Admission& admission);
  net::awaitable<void> session(Shared connection);
  net::awaitable<bool> serve_one(Shared connection);
  net::awaitable<Response> answer(const Admission& admission, const Request& request);
  void count(const Admission& admission, const Request& request, int status);
  net::awaitable<void> on_lane(Lane& lane, std::function<void()> call);
  net::awaitable<void> follow(Shared connection, const Admission& admission, const Request& request);
  net::awaitable<void> stream_lines(Shared connection, io::LogTail& tail, const std::string& job_id);

  service::Face& face;
  ServerOptions options;
  GuardRules rules;
  std::list<Shared> connections;  // oldest first; I/O thread only
  bool stopping = false;          // I/O thread only
  std::uint64_t requests = 0;     // I/O thread only
  std::string url, request_prefix;
  net::io_context io{1};
  Lanes lanes;
  tcp::acceptor acceptor{io};
  std::thread thread;
};

Server::State::State(service::Face& face_in, ServerOptions options_in)
    : face(face_in),
      options(std::move(options_in)),
      lanes(options.most_connections, options.most_submits, options.most_plans) {
  fill_defaults();
  listen();
  store::write_endpoint({options.run_folder}, {url, options.run_id, ::getpid(), options.incarnation.value});
  net::co_spawn(io, accept_loop(), net::detached);
  thread = std::thread([this] { io.run(); });
  log_info("api", "listening on " + url);
}

Server::State::~State() {
  net::post(io, [this] {
    stopping = true;
    error_code ignored;
    acceptor.close(ignored);
    for (const Shared& connection : connections) {
      connection->stream.close();
      connection->timer.cancel();
    }
  });
  thread.join();  // every session ends once its socket is closed and its Face call is back
  lanes.join();
  io::remove_file(store::RunPaths{options.run_folder}.endpoint());  // of this server, which is gone
}

void Server::State::fill_defaults() {
  options.run_folder = io::absolute(options.run_folder);
  io::make_folders(options.run_folder);
  if (options.data_roots.empty()) options.data_roots.push_back(io::working_folder());
  if (options.output_roots.empty()) options.output_roots.push_back(options.run_folder.parent_path());
  request_prefix = "r" + std::to_string(options.incarnation.value) + "-";
}

void Server::State::listen() {
  const Listen wanted = parse_listen(options.listen);
  if (!options.require_token && !wanted.endpoint.address().is_loopback())
    throw Error(ErrorKind::kUsage, "refusing to listen on " + options.listen + " without a token",
                "the API starts programs' work: keep the token, or listen on 127.0.0.1");
  if (options.require_token) rules.token = read_or_make_token(store::RunPaths{options.run_folder}.token());
  error_code code;
  acceptor.open(wanted.endpoint.protocol(), code);
  if (!code) acceptor.set_option(net::socket_base::reuse_address(true), code);
  if (!code) acceptor.bind(wanted.endpoint, code);
  if (!code) acceptor.listen(256, code);
  if (code == net::error::address_in_use)
    throw Error(ErrorKind::kConflict, "cannot listen on " + options.listen + ": the port is in use",
                "stop the program that holds it, or choose another --listen (port 0 takes a free one)");
  if (code)
    throw Error(ErrorKind::kUnavailable, "cannot listen on " + options.listen + ": " + code.message(),
                "choose an address of this machine with --listen");
  const std::string port = std::to_string(acceptor.local_endpoint().port());
  const bool v6 = wanted.endpoint.address().is_v6();
  const std::string local =
      wanted.endpoint.address().is_unspecified() ? (v6 ? "[::1]" : "127.0.0.1") : wanted.host;
  url = "http://" + local + ":" + port;
  rules.hosts = {"localhost", "127.0.0.1", "[::1]", host_without_port(wanted.host + ":0")};
  for (const auto& host : options.allowed_hosts) rules.hosts.push_back(host_without_port(host));
}

// Cuts the oldest connection that waits for nothing of ours, so that idle and slow ones never lock others
// out. One whose answer has only just left may not have read it yet.
bool Server::State::make_room(const net::ip::address& address) {
  constexpr std::chrono::milliseconds kToRead{250};
  const auto now = std::chrono::steady_clock::now();
  const auto counts = [&](const Shared& one, bool same_address) {
    return one->stream.socket().is_open() && !one->following && !one->spare &&
           (!same_address || one->address == address);
  };
  const auto cut_oldest = [&](bool same_address) {
    for (const Shared& connection : connections) {
      if (!counts(connection, same_address)) continue;
      if (connection->answering || now - connection->answered < kToRead) continue;
      connection->stream.close();
      return true;
    }
    return false;
  };
  const auto open = [&](bool same_address) {
    return static_cast<std::size_t>(
        std::count_if(connections.begin(), connections.end(),
                      [&](const Shared& one) { return counts(one, same_address); }));
  };
  if (open(true) >= options.most_connections_per_address && !cut_oldest(true)) return false;
  return open(false) < options.most_connections || cut_oldest(false);
}

// As many again are heard beyond the limits, so that /healthz is never refused and a refusal is read before
// the connection ends; the oldest that has not said yet what it wants makes room.
void Server::State::make_spare_room() {
  std::size_t spare = 0;
  for (const Shared& one : connections) spare += one->spare && one->stream.socket().is_open();
  if (spare < options.most_connections) return;
  for (const Shared& one : connections)
    if (one->spare && !one->answering && one->stream.socket().is_open()) return one->stream.close();
}

// A spare connection that asks for more than a sign of life has to find room now.
bool Server::State::let_in(Connection& connection, const Admission& admission) {
  if (!connection.spare) return true;
  const Endpoint* endpoint = admission.match.endpoint;
  if (endpoint != nullptr && endpoint->action == Action::kHealth) return true;
  if (!make_room(connection.address)) return false;
  connection.spare = false;
  return true;
}

net::awaitable<void> Server::State::accept_loop() {
  while (!stopping) {
    auto [code, socket] = co_await acceptor.async_accept(kAwait);
    if (stopping) co_return;
    if (code) {  // out of descriptors, or the peer is gone already
      net::steady_timer pause(io, std::chrono::milliseconds(50));
      co_await pause.async_wait(kAwait);
      continue;
    }
    error_code peer;
    const auto remote = socket.remote_endpoint(peer);
    if (peer) continue;
    const bool spare = !make_room(remote.address());
    if (spare) make_spare_room();
    auto connection = std::make_shared<Connection>(std::move(socket), remote.address(), options);
    connection->spare = spare;
    connections.push_back(connection);
    net::co_spawn(io, session(connection), net::detached);
  }
}

net::awaitable<void> Server::State::session(Shared connection) {
  try {
    connection->stream.expires_after(options.header_deadline);
    while (!stopping && co_await serve_one(connection)) {
      if (connection->buffer.size() > 0) continue;  // pipelined
      if (co_await connection->read_some(options.idle_deadline)) break;
    }
  } catch (const std::exception& error) {
    log_error("api", std::string("a connection failed: ") + error.what());
  }
  connection->stream.close();
  connections.remove(connection);
}

// One request and its answer; false when the connection is to be closed.
net::awaitable<bool> Server::State::serve_one(Shared connection) {
  Connection::Parser parser;
  const std::string request_id = request_prefix + std::to_string(++requests);
  if (const error_code code = co_await connection->read_header(parser)) {
    if (auto response = refusal_of(code, request_id)) co_await connection->refuse(*response, request_id);
    co_return false;
  }
  Request request = request_of(parser, request_id);
  const Admission admission = admit(request, rules);
  if (!let_in(*connection, admission)) {
    count(admission, request, 429);
    co_await connection->refuse(problem(429, "too many connections are being answered", request_id),
                                request_id);
    co_return false;
  }
  if (admission.refused) {
    count(admission, request, admission.refused->status);
    if (!parser.is_done()) {
      co_await connection->refuse(*admission.refused, request_id);
      co_return false;
    }
    co_return co_await connection->send(*admission.refused, request_id, parser.get().keep_alive());
  }
  connection->answering = true;
  if (const error_code code = co_await connection->read_body(parser)) {
    if (auto response = refusal_of(code, request_id)) co_await connection->refuse(*response, request_id);
    co_return false;
  }
  request.body = std::move(parser.get().body());
  const bool keep_alive = parser.get().keep_alive() && !connection->spare;
  const auto wants = admission.target.query.find("follow");
  if (admission.match.endpoint->action == Action::kLogs && wants != admission.target.query.end() &&
      wants->second == "1" && parser.get().version() == 11) {
    co_await follow(connection, admission, request);
    co_return false;
  }
  Response response = co_await answer(admission, request);
  const bool go_on = co_await connection->send(std::move(response), request_id, keep_alive);
  connection->answered = std::chrono::steady_clock::now();
  connection->answering = false;
  co_return go_on;
}

net::awaitable<Response> Server::State::answer(const Admission& admission, const Request& request) {
  Response response;
  const auto started = std::chrono::steady_clock::now();
  const Action action = admission.match.endpoint->action;
  if (action == Action::kHealth || action == Action::kVersion) {  // no lock: not even the pool's queue
    response = handle(face, options, admission, request);
  } else if (Lane& lane = lanes.of(action); lane.inside >= lane.most) {
    response = problem(429, "too many such requests are waiting", request.request_id);
  } else {
    co_await on_lane(lane, [&] { response = handle(face, options, admission, request); });
  }
  count(admission, request, response.status);
  if (options.metrics != nullptr)
    options.metrics->observe("trireme_http_request_duration_seconds",
                             seconds(std::chrono::steady_clock::now() - started),
                             {{"route", std::string(admission.match.endpoint->pattern)}});
  co_return response;
}

// Bounded labels: a route of the table or none, a method of the table or "other".
void Server::State::count(const Admission& admission, const Request& request, int status) {
  if (options.metrics == nullptr) return;
  const Endpoint* endpoint = admission.match.endpoint;
  const bool known = request.method == "GET" || request.method == "POST";
  options.metrics->count("trireme_http_requests_total", 1,
                         {{"route", endpoint == nullptr ? "none" : std::string(endpoint->pattern)},
                          {"method", known ? request.method : "other"},
                          {"code", std::to_string(status)}});
}

net::awaitable<void> Server::State::on_lane(Lane& lane, std::function<void()> call) {
  ++lane.inside;
  co_await net::co_spawn(lane.pool, called(std::move(call)), net::use_awaitable);
  --lane.inside;
}

net::awaitable<void> Server::State::follow(Shared connection, const Admission& admission,
                                           const Request& request) {
  Response response;
  std::optional<io::LogTail> tail;
  const auto followers =
      static_cast<std::size_t>(std::count_if(connections.begin(), connections.end(), [](const Shared& one) {
        return one->following && one->stream.socket().is_open();
      }));
  if (followers >= options.most_followers) {
    response = problem(429, "too many readers follow logs", request.request_id);
  } else {
    connection->following = true;
    co_await on_lane(lanes.files, [&] { response = handle_follow(face, options, admission, request, tail); });
  }
  if (response.status != 200) {
    co_await connection->send(std::move(response), request.request_id, false);
    co_return;
  }
  if (co_await connection->start_chunks(response, request.request_id))
    co_await stream_lines(connection, *tail, admission.match.job_id);
}

net::awaitable<void> Server::State::stream_lines(Shared connection, io::LogTail& tail,
                                                 const std::string& job_id) {
  auto last_sent = std::chrono::steady_clock::now();
  bool last_round = false;
  for (int round = 0; !stopping; ++round) {
    std::string text;
    bool over = false;
    if (connection->peer_gone()) co_return;
    co_await on_lane(lanes.files, [&] {
      if (round % 4 == 0) over = is_over(face, job_id);  // before reading, so that nothing written is missed
      text = tail.next();
    });
    const auto now = std::chrono::steady_clock::now();
    if (text.empty() && now - last_sent > options.follow_heartbeat) text = "\n";
    if (!text.empty()) {
      if (!co_await connection->send_chunk(text)) co_return;
      last_sent = now;
    } else if (last_round) {
      break;
    }
    last_round = last_round || over;
    if (last_round) continue;
    connection->timer.expires_after(options.follow_poll);
    co_await connection->timer.async_wait(kAwait);
  }
  co_await connection->end_chunks();
}

Server::Server(service::Face& face, ServerOptions options)
    : state_(std::make_unique<State>(face, std::move(options))) {}
Server::~Server() = default;

int Server::port() const {
  return state_->acceptor.local_endpoint().port();
}
const std::string& Server::url() const {
  return state_->url;
}

}  // namespace trireme::coordinator::api

// GCC 12 takes the frame of an inlined coroutine for memory of another allocator.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#include "coordinator/api/server.h"

#include <functional>
#include <memory>
#include <optional>

#include <unistd.h>
#include <boost/asio/co_spawn.hpp>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/http/listener.h"
#include "common/http/token.h"
#include "common/io/folder.h"
#include "common/io/log_tail.h"
#include "common/telemetry/metrics.h"
#include "coordinator/api/documents.h"
#include "coordinator/api/guard.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/lanes.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::api {
namespace {

namespace net = http::net;
using http::error_code;
using http::kAwait;
using Shared = http::SharedConnection;

void fill_defaults(ServerOptions& options) {
  options.run_folder = io::absolute(options.run_folder);
  io::make_folders(options.run_folder);
  if (options.data_roots.empty()) options.data_roots.push_back(io::working_folder());
  if (options.output_roots.empty()) options.output_roots.push_back(options.run_folder.parent_path());
}

net::awaitable<void> called(std::function<void()> call) {
  call();
  co_return;
}

}  // namespace

struct Server::State {
  State(service::Face& face_in, ServerOptions options_in);
  ~State();

  http::Address address();
  net::awaitable<bool> let_in(http::Connection& connection, const Admission& admission);
  net::awaitable<bool> serve_one(Shared connection);
  net::awaitable<Response> answer(const Admission& admission, const Request& request);
  void count(const Admission& admission, const Request& request, int status);
  net::awaitable<void> on_lane(Lane& lane, std::function<void()> call);
  net::awaitable<void> follow(Shared connection, const Admission& admission, const Request& request);
  net::awaitable<void> stream_lines(Shared connection, io::LogTail& tail, const std::string& job_id);

  service::Face& face;
  ServerOptions options;
  GuardRules rules;
  std::uint64_t requests = 0;  // I/O thread only
  std::string request_prefix;
  Lanes lanes;
  http::Listener listener;
};

Server::State::State(service::Face& face_in, ServerOptions options_in)
    : face(face_in),
      options((fill_defaults(options_in), std::move(options_in))),
      request_prefix("r" + std::to_string(options.incarnation.value) + "-"),
      lanes(options.most_connections, options.most_submits, options.most_plans),
      listener(address(), options, [this](Shared connection) { return serve_one(std::move(connection)); }) {
  store::write_endpoint({options.run_folder},
                        {listener.url(), options.run_id, ::getpid(), options.incarnation.value});
  listener.start();
  log_info("api", "listening on " + listener.url());
}

Server::State::~State() {
  listener.stop();  // every session ends once its socket is closed and its Face call is back
  lanes.join();
  io::remove_file(store::RunPaths{options.run_folder}.endpoint());  // of this server, which is gone
}

http::Address Server::State::address() {
  const http::Address wanted = http::parse_address(options.listen);
  if (!options.require_token && !wanted.is_loopback())
    throw Error(ErrorKind::kUsage, "refusing to listen on " + options.listen + " without a token",
                "the API starts programs' work: keep the token, or listen on 127.0.0.1");
  if (options.require_token)
    rules.token = http::read_or_make_token(store::RunPaths{options.run_folder}.token());
  rules.hosts = {"localhost", "127.0.0.1", "[::1]", host_without_port(wanted.host + ":0")};
  for (const auto& host : options.allowed_hosts) rules.hosts.push_back(host_without_port(host));
  return wanted;
}

// /healthz is never refused.
net::awaitable<bool> Server::State::let_in(http::Connection& connection, const Admission& admission) {
  const Endpoint* endpoint = admission.match.endpoint;
  co_return (endpoint != nullptr && endpoint->action == Action::kHealth) ||
      co_await listener.let_in(connection);
}

// One request and its answer; false when the connection is to be closed.
net::awaitable<bool> Server::State::serve_one(Shared connection) {
  http::Connection::Parser parser;
  const std::string request_id = request_prefix + std::to_string(++requests);
  if (const error_code code = co_await connection->read_header(parser)) {
    if (auto response = http::refusal_of(code, options, request_id))
      co_await connection->refuse(*response, request_id);
    co_return false;
  }
  Request request = http::request_of(parser, request_id);
  const Admission admission = admit(request, rules);
  if (!co_await let_in(*connection, admission)) {
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
    if (auto response = http::refusal_of(code, options, request_id))
      co_await connection->refuse(*response, request_id);
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
  connection->quiet_since = std::chrono::steady_clock::now();
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
  if (listener.followers() >= options.most_followers) {
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
  for (int round = 0; !listener.stopping(); ++round) {
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
  return state_->listener.port();
}
const std::string& Server::url() const {
  return state_->listener.url();
}

}  // namespace trireme::coordinator::api

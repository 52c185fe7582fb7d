#include "coordinator/api/server.h"

#include <algorithm>
#include <array>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <thread>

#include <unistd.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/log_tail.h"
#include "common/telemetry/metrics.h"
#include "coordinator/api/documents.h"
#include "coordinator/api/guard.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/token.h"

namespace trireme::coordinator::api {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = net::ip::tcp;
using Parser = http::request_parser<http::string_body>;
using boost::system::error_code;

constexpr auto kAwait = net::as_tuple(net::use_awaitable);
constexpr std::uint64_t kMostDrained = 4U << 20;

struct Connection {
  Connection(tcp::socket socket, net::ip::address from)
      : address(std::move(from)), stream(std::move(socket)), timer(stream.get_executor()) {}
  net::ip::address address;
  beast::tcp_stream stream;
  net::steady_timer timer;
  bool answering = false;
};
using Shared = std::shared_ptr<Connection>;

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

Request request_of(const Parser& parser, std::string request_id) {
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

template <class Message>
void set_common_fields(Message& message, const Response& response, const std::string& request_id) {
  message.set(http::field::content_type, response.content_type);
  message.set(http::field::cache_control, "no-store");
  message.set("X-Content-Type-Options", "nosniff");
  message.set("X-Request-Id", request_id);
  for (const auto& [name, value] : response.headers) message.set(name, value);
}

// The answer to bytes that are no acceptable request; nothing when the peer went away or was too slow.
std::optional<Response> refusal_of(error_code code, const std::string& request_id) {
  if (code == http::error::header_limit) return problem(431, "the header is larger than 8 KiB", request_id);
  if (code == http::error::buffer_overflow) return problem(431, "the header is too large", request_id);
  if (code == http::error::body_limit) return problem(413, "the body is larger than 1 MiB", request_id);
  if (code == http::error::end_of_stream || code == http::error::partial_message) return std::nullopt;
  if (code.category() == http::make_error_code(http::error::bad_method).category())
    return problem(400, "this is not a well-formed HTTP request", request_id);
  return std::nullopt;
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
  net::awaitable<void> session(Shared connection);
  net::awaitable<bool> serve_one(Shared connection, beast::flat_buffer& buffer);
  net::awaitable<error_code> read_body(Shared connection, beast::flat_buffer& buffer, Parser& parser);
  net::awaitable<Response> answer(const Admission& admission, const Request& request);
  void count(const Admission& admission, const Request& request, int status);
  net::awaitable<void> on_pool(std::function<void()> call);
  net::awaitable<bool> send(Shared connection, Response response, std::string request_id, bool keep_alive);
  net::awaitable<void> refuse(Shared connection, Response response, std::string request_id);
  net::awaitable<void> follow(Shared connection, const Admission& admission, const Request& request);
  net::awaitable<void> stream_lines(Shared connection, io::LogTail& tail, const std::string& job_id);
  net::awaitable<bool> send_chunk(Shared connection, const std::string& text);

  service::Face& face;
  ServerOptions options;
  GuardRules rules;
  std::list<Shared> connections;  // oldest first; I/O thread only
  bool stopping = false;          // I/O thread only
  std::uint64_t requests = 0;     // I/O thread only
  std::string url, request_prefix;
  net::io_context io{1};
  net::thread_pool pool{4};
  tcp::acceptor acceptor{io};
  std::thread thread;
};

Server::State::State(service::Face& face_in, ServerOptions options_in)
    : face(face_in), options(std::move(options_in)) {
  fill_defaults();
  listen();
  io::write_file_atomic(options.run_folder / "endpoint.json",
                        endpoint_json(url, static_cast<int>(::getpid()), options));
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
  pool.join();
  std::error_code ignored;
  std::filesystem::remove(options.run_folder / "endpoint.json", ignored);
}

void Server::State::fill_defaults() {
  options.run_folder = std::filesystem::absolute(options.run_folder);
  io::make_folders(options.run_folder);
  if (options.data_roots.empty()) options.data_roots.push_back(std::filesystem::current_path());
  if (options.output_roots.empty()) options.output_roots.push_back(options.run_folder.parent_path());
  request_prefix = "r" + std::to_string(options.incarnation.value) + "-";
}

void Server::State::listen() {
  const Listen wanted = parse_listen(options.listen);
  if (!options.require_token && !wanted.endpoint.address().is_loopback())
    throw Error(ErrorKind::kUsage, "refusing to listen on " + options.listen + " without a token",
                "the API starts programs' work: keep the token, or listen on 127.0.0.1");
  if (options.require_token) rules.token = read_or_make_token(options.run_folder / "token");
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
// out.
bool Server::State::make_room(const net::ip::address& address) {
  const auto cut_oldest = [&](bool same_address) {
    for (const Shared& connection : connections) {
      if (connection->answering || (same_address && connection->address != address)) continue;
      if (!connection->stream.socket().is_open()) continue;
      connection->stream.close();
      return true;
    }
    return false;
  };
  const auto open = [&](bool same_address) {
    return static_cast<std::size_t>(
        std::count_if(connections.begin(), connections.end(), [&](const Shared& one) {
          return one->stream.socket().is_open() && (!same_address || one->address == address);
        }));
  };
  if (open(true) >= options.most_connections_per_address && !cut_oldest(true)) return false;
  return open(false) < options.most_connections || cut_oldest(false);
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
    if (!make_room(remote.address())) {
      static constexpr std::string_view kBusy =
          "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: "
          "0\r\n\r\n";
      socket.non_blocking(true, peer);
      socket.write_some(net::buffer(kBusy), peer);
      continue;
    }
    auto connection = std::make_shared<Connection>(std::move(socket), remote.address());
    connections.push_back(connection);
    net::co_spawn(io, session(connection), net::detached);
  }
}

net::awaitable<void> Server::State::session(Shared connection) {
  beast::flat_buffer buffer(options.header_limit_bytes + (128U << 10));
  try {
    connection->stream.expires_after(options.header_deadline);
    while (!stopping && co_await serve_one(connection, buffer)) {
      if (buffer.size() > 0) continue;  // pipelined
      connection->stream.expires_after(options.idle_deadline);
      const auto [code, got] = co_await connection->stream.async_read_some(buffer.prepare(4096), kAwait);
      if (code) break;
      buffer.commit(got);
    }
  } catch (const std::exception& error) {
    log_error("api", std::string("a connection failed: ") + error.what());
  }
  connection->stream.close();
  connections.remove(connection);
}

// One request and its answer; false when the connection is to be closed.
net::awaitable<bool> Server::State::serve_one(Shared connection, beast::flat_buffer& buffer) {
  Parser parser;
  parser.header_limit(options.header_limit_bytes);
  parser.body_limit(options.body_limit_bytes);
  const std::string request_id = request_prefix + std::to_string(++requests);
  connection->stream.expires_after(options.header_deadline);
  const auto [head_code, head_bytes] =
      co_await http::async_read_header(connection->stream, buffer, parser, kAwait);
  if (head_code) {
    if (auto response = refusal_of(head_code, request_id)) co_await refuse(connection, *response, request_id);
    co_return false;
  }
  Request request = request_of(parser, request_id);
  const Admission admission = admit(request, rules);
  if (admission.refused) {
    count(admission, request, admission.refused->status);
    if (!parser.is_done()) {
      co_await refuse(connection, *admission.refused, request_id);
      co_return false;
    }
    co_return co_await send(connection, *admission.refused, request_id, parser.get().keep_alive());
  }
  if (const error_code code = co_await read_body(connection, buffer, parser)) {
    if (auto response = refusal_of(code, request_id)) co_await refuse(connection, *response, request_id);
    co_return false;
  }
  request.body = std::move(parser.get().body());
  connection->answering = true;
  const bool keep_alive = parser.get().keep_alive();
  const auto wants = admission.target.query.find("follow");
  if (admission.match.endpoint->action == Action::kLogs && wants != admission.target.query.end() &&
      wants->second == "1" && parser.get().version() == 11) {
    co_await follow(connection, admission, request);
    co_return false;
  }
  Response response = co_await answer(admission, request);
  const bool go_on = co_await send(connection, std::move(response), request_id, keep_alive);
  connection->answering = false;
  co_return go_on;
}

net::awaitable<error_code> Server::State::read_body(Shared connection, beast::flat_buffer& buffer,
                                                    Parser& parser) {
  if (parser.is_done()) co_return error_code();
  connection->stream.expires_after(options.body_deadline);
  if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    const auto [code, sent] = co_await net::async_write(connection->stream, net::buffer(kContinue), kAwait);
    if (code) co_return code;
  }
  const auto [code, got] = co_await http::async_read(connection->stream, buffer, parser, kAwait);
  co_return code;
}

net::awaitable<Response> Server::State::answer(const Admission& admission, const Request& request) {
  Response response;
  const auto started = std::chrono::steady_clock::now();
  const Action action = admission.match.endpoint->action;
  if (action == Action::kHealth || action == Action::kVersion) {  // no lock: not even the pool's queue
    response = handle(face, options, admission, request);
  } else {
    co_await on_pool([&] { response = handle(face, options, admission, request); });
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

net::awaitable<void> Server::State::on_pool(std::function<void()> call) {
  co_await net::co_spawn(pool, called(std::move(call)), net::use_awaitable);
}

net::awaitable<bool> Server::State::send(Shared connection, Response response, std::string request_id,
                                         bool keep_alive) {
  http::response<http::string_body> message{static_cast<http::status>(response.status), 11};
  set_common_fields(message, response, request_id);
  message.keep_alive(keep_alive);
  message.body() = std::move(response.body);
  message.prepare_payload();
  connection->stream.expires_after(options.write_deadline);
  const auto [code, sent] = co_await http::async_write(connection->stream, message, kAwait);
  co_return !code && keep_alive;
}

// Answers and closes although the peer may still be sending: what it sends is read and dropped for a while,
// because closing at once would reset the connection before the answer is read.
net::awaitable<void> Server::State::refuse(Shared connection, Response response, std::string request_id) {
  co_await send(connection, std::move(response), std::move(request_id), false);
  error_code ignored;
  connection->stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
  connection->stream.expires_after(std::chrono::seconds(1));
  std::array<char, 16384> dropped{};
  for (std::uint64_t total = 0; total < kMostDrained;) {
    const auto [code, got] = co_await connection->stream.async_read_some(net::buffer(dropped), kAwait);
    if (code) break;
    total += got;
  }
}

net::awaitable<void> Server::State::follow(Shared connection, const Admission& admission,
                                           const Request& request) {
  Response response;
  std::optional<io::LogTail> tail;
  co_await on_pool([&] { response = handle_follow(face, options, admission, request, tail); });
  if (response.status != 200) {
    co_await send(connection, std::move(response), request.request_id, false);
    co_return;
  }
  http::response<http::empty_body> message{http::status::ok, 11};
  set_common_fields(message, response, request.request_id);
  message.chunked(true);
  message.keep_alive(false);
  http::response_serializer<http::empty_body> serializer{message};
  connection->stream.expires_after(options.write_deadline);
  const auto [code, sent] = co_await http::async_write_header(connection->stream, serializer, kAwait);
  if (!code) co_await stream_lines(connection, *tail, admission.match.job_id);
}

net::awaitable<void> Server::State::stream_lines(Shared connection, io::LogTail& tail,
                                                 const std::string& job_id) {
  auto last_sent = std::chrono::steady_clock::now();
  bool last_round = false;
  for (int round = 0; !stopping; ++round) {
    std::string text;
    bool over = false;
    co_await on_pool([&] {
      if (round % 4 == 0) over = is_over(face, job_id);  // before reading, so that nothing written is missed
      text = tail.next();
    });
    const auto now = std::chrono::steady_clock::now();
    if (text.empty() && now - last_sent > options.follow_heartbeat) text = "\n";
    if (!text.empty()) {
      if (!co_await send_chunk(connection, text)) co_return;
      last_sent = now;
    } else if (last_round) {
      break;
    }
    last_round = last_round || over;
    if (last_round) continue;
    connection->timer.expires_after(options.follow_poll);
    co_await connection->timer.async_wait(kAwait);
  }
  connection->stream.expires_after(options.write_deadline);
  co_await net::async_write(connection->stream, http::make_chunk_last(), kAwait);
}

net::awaitable<bool> Server::State::send_chunk(Shared connection, const std::string& text) {
  connection->stream.expires_after(options.write_deadline);
  const auto [code, sent] =
      co_await net::async_write(connection->stream, http::make_chunk(net::buffer(text)), kAwait);
  co_return !code;
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

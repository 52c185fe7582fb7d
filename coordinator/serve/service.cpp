// GCC 12 takes the frame of an inlined coroutine for memory of another allocator.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#include "coordinator/serve/service.h"

#include <algorithm>
#include <csignal>
#include <future>
#include <map>
#include <set>
#include <utility>

#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/host_name.h"
#include "common/base/log.h"
#include "common/http/listener.h"
#include "common/http/problem.h"
#include "common/http/token.h"
#include "common/io/folder.h"
#include "common/telemetry/metrics.h"
#include "coordinator/serve/backends.h"
#include "coordinator/serve/door.h"
#include "coordinator/serve/page.h"
#include "coordinator/serve/served_runs.h"
#include "jobs/search/service_file.h"

namespace trireme::coordinator::serve {
namespace {

using http::Request;
using http::Response;
using http::SharedConnection;
using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kDrain{10}, kLookForNewer{1};
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src "
    "'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string dumped(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

Response page(std::string_view body, const char* type) {
  return {200,
          type,
          std::string(body),
          {{"Content-Security-Policy", kPolicy},
           {"Referrer-Policy", "no-referrer"},
           {"Cache-Control", "no-cache"}}};
}

}  // namespace

struct Service::State {
  explicit State(ServiceOptions options_in);
  ~State();

  Door make_door(const http::Address& address);
  net::awaitable<bool> serve_one(SharedConnection connection);
  net::awaitable<Response> answer(const Admission& admission, const Request& request);
  net::awaitable<Response> ask(jobs::SearchCall what, std::string body, const Request& request,
                               const std::string& index = "");
  Response own_answer(const Admission& admission, const Request& request);
  Response enter(const Admission& admission, const Request& request);
  void count(const Admission& admission, const Request& request, int status, Clock::time_point started);
  void told(bool ready);
  jobs::ServiceFile announcement(const std::string& name) const;
  void announce_again();
  net::awaitable<void> watch_indexes();
  net::awaitable<void> drain(std::promise<void>& done);
  std::vector<io::FileStatus> manifests() const;
  void on_io_thread(const std::function<void()>& what);

  ServiceOptions options;
  const ServiceLimits limits;
  telemetry::Metrics metrics{"", 0};
  const std::map<std::string, std::string> runs;
  const http::Address address;
  io::Path token_file;
  Door door;
  std::uint64_t requests = 0, answering = 0;  // I/O thread
  bool draining = false;                      // I/O thread
  std::set<std::string> unannounced;          // I/O thread; runs whose folder takes no announcement
  std::promise<void> ready;                   // set once, on the I/O thread
  bool ready_told = false;
  http::Listener listener;
  Backends backends;
  net::signal_set signals;
};

Service::State::State(ServiceOptions options_in)
    : options(std::move(options_in)),
      runs(named_runs(options.runs)),
      address(http::parse_address(options.listen)),
      door(make_door(address)),
      listener(address, limits,
               [this](SharedConnection connection) { return serve_one(std::move(connection)); }),
      backends(listener.io(), options, runs, metrics),
      signals(listener.io()) {
  backends.changed = [this] {
    if (backends.is_ready() || !backends.failure().empty()) told(backends.is_ready());
    const auto description = backends.description();
    for (const auto& index : description.is_object() ? description["indexes"] : ordered_json::array())
      metrics.set("trireme_search_items", index["items"].get<double>(),
                  {{"index", index["name"].get<std::string>()}});
  };
  backends.start();
  net::co_spawn(listener.io(), watch_indexes(), net::detached);
  listener.start();
  for (const auto& [name, run] : runs) jobs::write_service_file(run, announcement(name));
}

jobs::ServiceFile Service::State::announcement(const std::string& name) const {
  return {listener.url(), ::getpid(), host_name(), name, token_file.string()};
}

Service::State::~State() {
  on_io_thread([this] {
    draining = true;
    signals.cancel();
    backends.stop();
  });
  for (const auto& [name, run] : runs) jobs::remove_service_file(run, ::getpid());  // announced no more
  listener.stop();
}

Door Service::State::make_door(const http::Address& wanted) {
  std::vector<std::string> hosts = {"localhost", "127.0.0.1", "[::1]",
                                    http::host_without_port(wanted.host + ":0")};
  for (const auto& host : options.allowed_hosts) hosts.push_back(http::host_without_port(host));
  if (wanted.is_loopback() && !options.require_token) return {hosts, ""};
  if (options.state.empty() && runs.empty())
    throw Error(ErrorKind::kUsage, "the token has to lie somewhere", "name a folder for it with --state");
  const io::Path state = options.state.empty() ? runs.begin()->second : options.state;
  if (io::exists(state / "manifest.json"))
    throw Error(ErrorKind::kUsage,
                "nothing is written into an index folder, and the token has to lie somewhere",
                "name a folder for it with --state");
  token_file = state / "search-token";
  return {hosts, http::read_or_make_token(token_file)};
}

void Service::State::told(bool is_ready) {
  if (std::exchange(ready_told, true)) return;
  if (is_ready)
    ready.set_value();
  else
    ready.set_exception(std::make_exception_ptr(Error(ErrorKind::kUnavailable, backends.failure())));
}

std::vector<io::FileStatus> Service::State::manifests() const {
  std::vector<io::FileStatus> all;
  for (const auto& [name, run] : runs) {
    const io::Path path = manifest_of(run);
    all.push_back(io::exists(path) ? io::status_of(path) : io::FileStatus{});
  }
  return all;
}

// Another service of the run may have taken the announcement with it. A folder that takes none is left out.
void Service::State::announce_again() {
  for (const auto& [name, run] : runs) {
    if (unannounced.contains(name)) continue;
    jobs::announce_again(run, announcement(name));
    const auto announced = jobs::read_service_file(run);
    if (!announced || announced->pid == 0) unannounced.insert(name);
  }
}

// A newer index takes the place of the one before it in a moment (replace_folder); what is half there is
// none.
net::awaitable<void> Service::State::watch_indexes() {
  auto served = manifests();
  net::steady_timer timer(listener.io());
  while (!draining) {
    timer.expires_after(kLookForNewer);
    co_await timer.async_wait(http::kAwait);
    if (draining) co_return;
    try {
      announce_again();
      const auto now = manifests();
      const bool all_there =
          std::ranges::all_of(now, [](const io::FileStatus& one) { return one.bytes > 0; });
      if (!all_there || now == served || backends.is_replacing()) continue;
      served = now;
      backends.replace();
    } catch (const Error& error) {
      log_warning("serve", error.what());
    }
  }
}

net::awaitable<bool> Service::State::serve_one(SharedConnection connection) {
  http::Connection::Parser parser;
  const std::string request_id = "s" + std::to_string(++requests);
  if (const auto code = co_await connection->read_header(parser)) {
    if (auto response = http::refusal_of(code, limits, request_id))
      co_await connection->refuse(*response, request_id);
    co_return false;
  }
  const auto started = Clock::now();
  Request request = http::request_of(parser, request_id);
  const Admission admission = door.admit(request);
  if (admission.refused) {
    count(admission, request, admission.refused->status, started);
    if (!parser.is_done()) {
      co_await connection->refuse(*admission.refused, request_id);
      co_return false;
    }
    co_return co_await connection->send(*admission.refused, request_id,
                                        parser.get().keep_alive() && !connection->spare);
  }
  if (admission.route->action != Action::kHealth && !co_await listener.let_in(*connection)) {
    count(admission, request, 429, started);
    co_await connection->refuse(http::problem(429, "too many connections are being answered", request_id),
                                request_id);
    co_return false;
  }
  if (const auto code = co_await connection->read_body(parser)) {
    if (auto response = http::refusal_of(code, limits, request_id))
      co_await connection->refuse(*response, request_id);
    co_return false;
  }
  request.body = std::move(parser.get().body());
  connection->answering = true;
  ++answering;
  Response response = co_await answer(admission, request);
  count(admission, request, response.status, started);
  const bool go_on = co_await connection->send(std::move(response), request_id,
                                               parser.get().keep_alive() && !draining && !connection->spare);
  --answering;
  connection->quiet_since = Clock::now();
  connection->answering = false;
  co_return go_on;
}

net::awaitable<Response> Service::State::answer(const Admission& admission, const Request& request) {
  using jobs::SearchCall;
  const auto item = [&] { return dumped({{"index", admission.index}, {"id", admission.id}}); };
  if (draining && admission.route->action != Action::kHealth)
    co_return http::problem(503, "the service is stopping", request.request_id);
  switch (admission.route->action) {
    case Action::kSearch:
      co_return co_await ask(SearchCall::kSearch, request.body, request);
    case Action::kKnn:
      co_return co_await ask(SearchCall::kKnn, request.body, request);
    case Action::kEmbed:
      co_return co_await ask(SearchCall::kRows, request.body, request);
    case Action::kMetadata:
      co_return co_await ask(SearchCall::kMetadata, request.body, request);
    case Action::kItem:
      co_return co_await ask(SearchCall::kItem, item(), request, admission.index);
    case Action::kThumbnail: {
      Response response = co_await ask(SearchCall::kThumbnail, item(), request, admission.index);
      if (response.status == 200) {
        response.content_type = "image/jpeg";
        response.headers.emplace_back("Cache-Control", "private, max-age=3600");
      }
      co_return response;
    }
    default:
      break;
  }
  co_return own_answer(admission, request);
}

net::awaitable<Response> Service::State::ask(jobs::SearchCall what, std::string body, const Request& request,
                                             const std::string& index) {
  jobs::Frame frame = co_await backends.call(what, std::move(body), index);
  metrics.set("trireme_search_waiting", static_cast<double>(backends.waiting()));
  if (frame.code == 0) co_return Response{200, "application/json", std::move(frame.body)};
  const auto kind = static_cast<ErrorKind>(frame.code - 1);
  co_return http::problem(http::status_of(kind), frame.body, request.request_id);
}

Response Service::State::own_answer(const Admission& admission, const Request& request) {
  const auto description = backends.description();
  switch (admission.route->action) {
    case Action::kPage:
      return page(page_html(), "text/html; charset=utf-8");
    case Action::kScript:
      return page(page_script(), "text/javascript; charset=utf-8");
    case Action::kStyle:
      return page(page_style(), "text/css; charset=utf-8");
    case Action::kOpenApi:
      return {200, "application/json", std::string(open_api())};
    case Action::kHealth:
      return {200, "application/json", dumped({{"status", "ok"}})};
    case Action::kReady:
      if (backends.is_ready()) return {200, "application/json", dumped({{"ready", true}})};
      return http::problem(503, "no search worker is ready", request.request_id);
    case Action::kMetrics:
      return {200, "text/plain; version=0.0.4; charset=utf-8", metrics.exposition()};
    case Action::kEnter:
      return enter(admission, request);
    case Action::kLink:
      return {201, "application/json",
              dumped({{"link", door.is_open() ? listener.url() + "/"
                                              : listener.url() + "/enter?key=" + door.new_key()}})};
    default:
      break;
  }
  if (!description.is_object()) return http::problem(503, "no search worker is ready", request.request_id);
  if (admission.route->action == Action::kIndexes) return {200, "application/json", dumped(description)};
  ordered_json names = ordered_json::array();
  for (const auto& index : description["indexes"]) names.push_back(index["name"]);
  return {200, "application/json", dumped(names)};
}

Response Service::State::enter(const Admission& admission, const Request& request) {
  const auto key = admission.target.query.find("key");
  const auto cookie = key == admission.target.query.end() ? std::nullopt : door.enter(key->second);
  if (!cookie && !door.is_open())
    return http::problem(401, "this link was used before, or is none; ask for a new one", request.request_id);
  Response response{
      303, "text/plain; charset=utf-8", "", {{"Location", "/"}, {"Referrer-Policy", "no-referrer"}}};
  if (cookie) response.headers.emplace_back("Set-Cookie", *cookie);
  return response;
}

// Bounded labels: a route of the table or none.
void Service::State::count(const Admission& admission, const Request& request, int status,
                           Clock::time_point started) {
  const std::string route = admission.route == nullptr ? "none" : std::string(admission.route->pattern);
  const bool known = request.method == "GET" || request.method == "POST";
  metrics.count(
      "trireme_http_requests_total", 1,
      {{"route", route}, {"method", known ? request.method : "other"}, {"code", std::to_string(status)}});
  metrics.observe("trireme_http_request_duration_seconds",
                  std::chrono::duration<double>(Clock::now() - started).count(), {{"route", route}});
}

net::awaitable<void> Service::State::drain(std::promise<void>& done) {
  draining = true;
  net::steady_timer timer(listener.io());
  for (const auto end = Clock::now() + kDrain; answering > 0 && Clock::now() < end;) {
    timer.expires_after(std::chrono::milliseconds(20));
    co_await timer.async_wait(http::kAwait);
  }
  done.set_value();
}

void Service::State::on_io_thread(const std::function<void()>& what) {
  std::promise<void> done;
  net::post(listener.io(), [&] {
    what();
    done.set_value();
  });
  done.get_future().wait();
}

Service::Service(ServiceOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Service::~Service() = default;

void Service::wait_until_ready() {
  state_->ready.get_future().get();
}

void Service::run_until_signalled() {
  std::promise<void> signalled, drained;
  state_->signals.add(SIGTERM);
  state_->signals.add(SIGINT);
  state_->signals.async_wait([&](const boost::system::error_code&, int) { signalled.set_value(); });
  signalled.get_future().wait();
  log_info("serve", "stopping: no new call is taken");
  net::co_spawn(state_->listener.io(), state_->drain(drained), net::detached);
  drained.get_future().wait();
}

const std::string& Service::url() const {
  return state_->listener.url();
}

std::string Service::link() {
  std::string link = url() + "/";
  state_->on_io_thread([&] {
    if (!state_->door.is_open()) link = url() + "/enter?key=" + state_->door.new_key();
  });
  return link;
}

io::Path Service::token_file() const {
  return state_->token_file;
}

}  // namespace trireme::coordinator::serve

// GCC 12 takes the frame of an inlined coroutine for memory of another allocator.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#include "coordinator/serve/backends.h"

#include <algorithm>
#include <set>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "common/base/error.h"
#include "common/http/connection.h"
#include "common/io/file.h"

namespace trireme::coordinator::serve {
namespace {

using nlohmann::ordered_json;

constexpr std::chrono::seconds kLookAgain{1};

PoolOptions pool_options(const ServiceOptions& options, const std::map<std::string, std::string>& runs,
                         telemetry::Metrics& metrics) {
  PoolOptions pool;
  pool.command = {options.worker_program, "tool", "search-worker", std::to_string(options.threads)};
  for (const auto& [name, run] : runs) pool.command.push_back(name + "=" + run);
  pool.workers = options.workers;
  pool.metrics = &metrics;
  return pool;
}

}  // namespace

Backends::Backends(net::io_context& io, const ServiceOptions& options,
                   const std::map<std::string, std::string>& runs, telemetry::Metrics& metrics)
    : io_(io), has_own_(!runs.empty()), pool_(io, pool_options(options, runs, metrics)) {
  std::set<std::string> names;
  for (const auto& [name, run] : runs) names.insert(name);
  std::string token = options.spread_token.empty() ? "" : io::read_file(options.spread_token, 4096);
  while (!token.empty() && token.back() == '\n') token.pop_back();
  for (const auto& given : options.spread) {
    spread_.push_back(std::make_unique<SpreadIndex>(io, given, token));
    if (!names.insert(spread_.back()->name()).second)
      throw Error(ErrorKind::kUsage, "two of the indexes are called " + spread_.back()->name());
  }
  pool_.changed = [this] {
    if (changed) changed();
  };
}

void Backends::start() {
  if (has_own_) pool_.start();
  if (!spread_.empty()) net::co_spawn(io_, look_again(), net::detached);
}

void Backends::stop() {
  stopping_ = true;
  pool_.stop();
}

net::awaitable<void> Backends::look_again() {
  net::steady_timer timer(io_);
  while (!stopping_) {
    for (const auto& one : spread_) co_await one->look();
    if (stopping_) co_return;
    if (changed) changed();
    timer.expires_after(kLookAgain);
    co_await timer.async_wait(http::kAwait);
  }
}

SpreadIndex* Backends::spread_of(jobs::SearchCall what, const std::string& body,
                                 const std::string& index) const {
  if (spread_.empty()) return nullptr;
  std::string name = index;
  if (name.empty()) {
    const auto json = ordered_json::parse(body, nullptr, false);
    const bool theirs = what == jobs::SearchCall::kKnn || what == jobs::SearchCall::kMetadata;
    if (json.is_object()) {
      const auto named = json.find(theirs ? "indice_name" : "index");
      if (named != json.end() && named->is_string()) name = named->get<std::string>();
    }
  }
  if (name.empty() && !has_own_ && spread_.size() == 1) return spread_.front().get();
  const auto found = std::ranges::find_if(spread_, [&](const auto& one) { return one->name() == name; });
  return found == spread_.end() ? nullptr : found->get();
}

net::awaitable<jobs::Frame> Backends::call(jobs::SearchCall what, std::string body,
                                           const std::string& index) {
  if (SpreadIndex* spread = spread_of(what, body, index))
    co_return co_await spread->call(what, std::move(body));
  if (!has_own_)
    co_return jobs::Frame{0, jobs::code_of(ErrorKind::kNotFound),
                          "there is no such index; GET /api/v1/indexes lists them"};
  co_return co_await pool_.call(what, std::move(body));
}

bool Backends::is_ready() const {
  return (!has_own_ || pool_.is_ready()) &&
         std::ranges::all_of(spread_, [](const auto& one) { return one->is_ready(); });
}

std::string Backends::failure() const {
  for (const auto& one : spread_)
    if (!one->is_ready() && !one->failure().empty()) return one->failure();
  return pool_.failure();
}

ordered_json Backends::description() const {
  ordered_json own = ordered_json::parse(pool_.description(), nullptr, false);
  if (has_own_ && !own.is_object()) return nullptr;
  if (!has_own_) own = {{"indexes", ordered_json::array()}};
  for (const auto& one : spread_) own["indexes"].push_back(one->description());
  return own;
}

}  // namespace trireme::coordinator::serve

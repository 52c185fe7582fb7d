// GCC 12 takes the frame of an inlined coroutine for memory of another allocator.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#include "coordinator/serve/worker_pool.h"

#include <algorithm>
#include <array>
#include <csignal>

#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/telemetry/metrics.h"

namespace trireme::coordinator::serve {
namespace {

constexpr auto kAwait = net::as_tuple(net::use_awaitable);

// The child has the socket as its standard input, and our standard error as its output.
pid_t spawn_with_socket(const std::vector<std::string>& command, int socket) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  std::vector<char*> words;
  for (const auto& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t child = -1;
  const int failure = ::posix_spawn(&child, words[0], &actions, nullptr, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) throw system_error("cannot start " + command.front(), failure);
  return child;
}

jobs::Frame refusal(const std::string& why) {
  return {0, jobs::code_of(ErrorKind::kUnavailable), why};
}

}  // namespace

struct WorkerPool::Waiter {
  net::steady_timer timer;  // rung when the answer is there
  std::optional<jobs::Frame> answer;
};

struct WorkerPool::Worker {
  Worker(net::io_context& io, std::uint64_t number) : socket(io), wake(io), generation(number) {}
  net::local::stream_protocol::socket socket;
  net::steady_timer wake;  // rung when there is something to write
  std::uint64_t generation;
  pid_t process = -1;
  bool ready = false, gone = false;
  std::deque<std::string> outbox;
  std::map<std::uint64_t, std::shared_ptr<Waiter>> waiting;
};

WorkerPool::WorkerPool(net::io_context& io, PoolOptions options) : io_(io), options_(std::move(options)) {}

WorkerPool::~WorkerPool() {
  stop();
}

void WorkerPool::stop() {
  if (std::exchange(stopping_, true)) return;
  for (const auto* group : {&workers_, &next_, &retired_})
    for (const Shared& worker : *group) end(*worker, "the service is stopping");
}

// Its coroutines notice by themselves. Returns how the process ended.
int WorkerPool::end(Worker& worker, const std::string& why) {
  worker.gone = true;
  boost::system::error_code ignored;
  worker.socket.close(ignored);
  worker.wake.cancel();
  ::kill(worker.process, SIGKILL);
  int status = 0;
  ::waitpid(worker.process, &status, 0);
  for (auto& [number, waiter] : worker.waiting) {
    waiter->answer = refusal(why);
    waiter->timer.cancel();
  }
  worker.waiting.clear();
  return status;
}

void WorkerPool::start() {
  generation_ = 1;
  for (int i = 0; i < options_.workers; ++i) workers_.push_back(start_worker(generation_));
}

void WorkerPool::replace() {
  if (is_replacing() || stopping_) return;
  ++generation_;
  for (int i = 0; i < options_.workers; ++i) next_.push_back(start_worker(generation_));
}

WorkerPool::Shared WorkerPool::start_worker(std::uint64_t generation) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    throw system_error("cannot make a socket for a search worker", errno);
  auto worker = std::make_shared<Worker>(io_, generation);
  worker->socket.assign(net::local::stream_protocol(), ends[0]);
  try {
    worker->process = spawn_with_socket(options_.command, ends[1]);
  } catch (...) {
    ::close(ends[1]);
    throw;
  }
  ::close(ends[1]);
  net::co_spawn(io_, read_all(worker), net::detached);
  net::co_spawn(io_, write_all(worker), net::detached);
  return worker;
}

net::awaitable<void> WorkerPool::read_all(Shared worker) {
  std::string bytes;
  std::array<char, 1 << 16> some{};
  for (;;) {
    const auto [code, got] = co_await worker->socket.async_read_some(net::buffer(some), kAwait);
    if (stopping_) co_return;
    if (code) break;
    bytes.append(some.data(), got);
    try {
      while (auto frame = jobs::take_frame(bytes)) take(worker, std::move(*frame));
    } catch (const Error& error) {
      log_error("serve", error.what());
      break;
    }
  }
  lose(worker);
}

net::awaitable<void> WorkerPool::write_all(Shared worker) {
  while (!worker->gone && !stopping_) {
    if (worker->outbox.empty()) {
      worker->wake.expires_at(net::steady_timer::time_point::max());
      co_await worker->wake.async_wait(kAwait);
      continue;
    }
    const std::string bytes = std::move(worker->outbox.front());
    worker->outbox.pop_front();
    const auto [code, sent] = co_await net::async_write(worker->socket, net::buffer(bytes), kAwait);
    if (code) co_return;  // the reader finds out, too
  }
}

void WorkerPool::take(const Shared& worker, jobs::Frame frame) {
  if (frame.number == 0) {
    worker->ready = true;
    if (worker->generation == generation_ || description_.empty()) description_ = frame.body;
    was_ready_ = true;
    if (std::ranges::find(next_, worker) != next_.end()) take_over();
    return report();
  }
  const auto found = worker->waiting.find(frame.number);
  if (found == worker->waiting.end()) return;  // nobody waits any more
  found->second->answer = std::move(frame);
  found->second->timer.cancel();
  worker->waiting.erase(found);
  if (std::ranges::find(retired_, worker) != retired_.end()) retire(worker);
}

void WorkerPool::take_over() {
  if (!std::ranges::all_of(next_, [](const Shared& one) { return one->ready; })) return;
  const auto before = std::exchange(workers_, std::exchange(next_, {}));
  for (const Shared& worker : before) {
    retired_.push_back(worker);
    retire(worker);
  }
  log_info("serve", "a newer index is served");
  if (options_.metrics != nullptr)
    options_.metrics->count("trireme_search_takeovers_total", 1, {{"outcome", "taken"}});
}

// It ends by itself once it hears nothing more.
void WorkerPool::retire(const Shared& worker) {
  if (!worker->waiting.empty() || !worker->socket.is_open()) return;
  boost::system::error_code ignored;
  worker->socket.shutdown(net::socket_base::shutdown_send, ignored);
}

void WorkerPool::lose(const Shared& worker) {
  if (worker->gone) return;
  const bool asked_to = std::erase(retired_, worker) > 0;
  const int status = end(*worker, "the worker that had this call was lost; ask again");
  if (asked_to) return;
  const bool killed = WIFSIGNALED(status);
  log_warning("serve", "a search worker ended (" +
                           (killed ? "signal " + std::to_string(WTERMSIG(status))
                                   : "exit code " + std::to_string(WEXITSTATUS(status))) +
                           ")");
  if (options_.metrics != nullptr) options_.metrics->count("trireme_search_worker_losses_total");
  if (std::erase(next_, worker) > 0) {
    for (const Shared& other : std::exchange(next_, {})) {
      retired_.push_back(other);
      retire(other);
    }
    log_error("serve", "the newer index cannot be served; the one before it stays");
    if (options_.metrics != nullptr)
      options_.metrics->count("trireme_search_takeovers_total", 1, {{"outcome", "refused"}});
  } else if (std::erase(workers_, worker) > 0) {
    if (!was_ready_)
      failure_ = "a search worker could not start; it says why above";
    else
      net::co_spawn(io_, start_again(worker->ready ? 0 : 1), net::detached);
  }
  report();
}

// At once after a worker that had been ready, else after a pause.
net::awaitable<void> WorkerPool::start_again(std::uint64_t pauses) {
  net::steady_timer pause(io_, options_.restart_pause * static_cast<int>(pauses));
  co_await pause.async_wait(kAwait);
  if (stopping_ || workers_.size() >= static_cast<std::size_t>(options_.workers)) co_return;
  try {
    workers_.push_back(start_worker(generation_));
  } catch (const Error& error) {
    log_error("serve", error.what());
    net::co_spawn(io_, start_again(1), net::detached);
  }
}

bool WorkerPool::is_ready() const {
  return std::ranges::any_of(workers_, [](const Shared& one) { return one->ready; });
}

std::size_t WorkerPool::waiting() const {
  std::size_t sum = 0;
  for (const auto* group : {&workers_, &retired_})
    for (const Shared& worker : *group) sum += worker->waiting.size();
  return sum;
}

void WorkerPool::report() {
  if (options_.metrics != nullptr)
    options_.metrics->set(
        "trireme_search_workers",
        static_cast<double>(std::ranges::count_if(workers_, [](const Shared& one) { return one->ready; })));
  if (changed) changed();
}

net::awaitable<jobs::Frame> WorkerPool::call(jobs::SearchCall what, std::string body) {
  Shared chosen;
  for (const Shared& worker : workers_)
    if (worker->ready && (!chosen || worker->waiting.size() < chosen->waiting.size())) chosen = worker;
  if (!chosen) co_return refusal("no search worker is ready");
  if (waiting() >= options_.most_waiting) co_return refusal("too many calls wait already");
  const std::uint64_t number = ++calls_;
  auto waiter = std::make_shared<Waiter>(Waiter{net::steady_timer(io_, options_.call_limit), std::nullopt});
  chosen->waiting[number] = waiter;
  chosen->outbox.push_back(jobs::encoded({number, static_cast<std::uint8_t>(what), std::move(body)}));
  chosen->wake.cancel();
  co_await waiter->timer.async_wait(kAwait);
  if (waiter->answer) co_return std::move(*waiter->answer);
  if (!stopping_) {
    log_error("serve", "a search worker gives no answer any more; it is ended");
    lose(chosen);
  }
  co_return refusal("the worker gave no answer in time");
}

}  // namespace trireme::coordinator::serve

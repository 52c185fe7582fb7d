// The workers of a search service: started, asked, watched, started again when they end, and replaced by
// workers of a newer index without a pause. Everything runs on the one I/O thread of the service.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include "jobs/search/frames.h"

namespace trireme::telemetry {
class Metrics;
}

namespace trireme::coordinator::serve {

namespace net = boost::asio;

struct PoolOptions {
  std::vector<std::string> command;  // program and arguments; its standard input becomes the socket
  int workers = 1;
  std::size_t most_waiting = 1024;              // calls; more are refused
  std::chrono::milliseconds call_limit{30000};  // a worker that takes longer is ended
  std::chrono::milliseconds restart_pause{1000};
  telemetry::Metrics* metrics = nullptr;  // may be null; outlives the pool
};

class WorkerPool {
 public:
  WorkerPool(net::io_context& io, PoolOptions options);
  ~WorkerPool();  // stop()
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void start();
  // Ends every worker; calls that wait are refused.
  void stop();
  // Starts as many workers anew and hands calls to them once all are ready; those before them end when they
  // have answered. Nothing changes when one of them cannot start.
  void replace();

  // The answer; code_of(kUnavailable) when no worker is ready, too many calls wait, or the worker was lost.
  net::awaitable<jobs::Frame> call(jobs::SearchCall what, std::string body);

  bool is_ready() const;
  bool is_replacing() const { return !next_.empty(); }
  std::size_t waiting() const;
  const std::string& description() const { return description_; }  // of a ready worker, JSON; "" before
  // Why a worker of the first generation could not start; "" otherwise.
  const std::string& failure() const { return failure_; }
  // Called when the ready workers or what they serve have changed.
  std::function<void()> changed;

 private:
  struct Waiter;
  struct Worker;
  using Shared = std::shared_ptr<Worker>;

  Shared start_worker(std::uint64_t generation);
  net::awaitable<void> read_all(Shared worker);
  net::awaitable<void> write_all(Shared worker);
  net::awaitable<void> start_again(std::uint64_t generation);
  void take(const Shared& worker, jobs::Frame frame);
  void lose(const Shared& worker);
  int end(Worker& worker, const std::string& why);
  void take_over();
  void retire(const Shared& worker);
  void report();

  net::io_context& io_;
  PoolOptions options_;
  std::vector<Shared> workers_, next_, retired_;
  std::uint64_t generation_ = 0, calls_ = 0;
  bool stopping_ = false, was_ready_ = false;
  std::string description_, failure_;
};

}  // namespace trireme::coordinator::serve

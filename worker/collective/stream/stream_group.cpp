#include "worker/collective/stream/stream_group.h"

#include <ATen/ATen.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "common/base/error.h"

namespace trireme::worker::collective {
namespace {

using std::chrono::steady_clock;
constexpr auto kSpin = std::chrono::microseconds(50);
constexpr auto kSleep = std::chrono::microseconds(20);
constexpr auto kWatchEvery = std::chrono::milliseconds(5);

std::string too_late(const GroupOptions& options) {
  return "a peer did not come within " + std::to_string(options.deadline.count()) + " ms";
}

// Calls `ready` until it says so; between two calls `pause`.
template <class Ready, class Pause>
void wait_until(Ready ready, const GroupOptions& options, Pause pause) {
  const auto begin = steady_clock::now();
  while (!ready()) {
    const auto waited = steady_clock::now() - begin;
    if (options.stopped && options.stopped()) throw Error(ErrorKind::kCancelled, "cancelled");
    if (waited > options.deadline) throw Error(ErrorKind::kTryAgain, too_late(options));
    pause(waited > kSpin);
  }
}

class StreamGroup final : public Group {
 public:
  StreamGroup(std::unique_ptr<Group> host, std::unique_ptr<StreamCalls> calls, GroupOptions options)
      : host_(std::move(host)),
        calls_(std::move(calls)),
        options_(std::move(options)),
        watcher_([this] { watch(); }) {}
  ~StreamGroup() override {
    {
      const std::lock_guard lock(mutex_);
      leaving_ = true;
    }
    changed_.notify_all();
    watcher_.join();
    if (!failure_) end_in_peace();
  }
  StreamGroup(const StreamGroup&) = delete;
  StreamGroup& operator=(const StreamGroup&) = delete;

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  const char* backend() const override { return calls_->name(); }
  bool takes_device_tensors() const override { return true; }
  bool sums_natively() const override { return true; }

  at::Tensor all_gather(const at::Tensor& local) override {
    if (!calls_->on_device(local)) return host_->all_gather(local);
    check(local, "all_gather");
    auto shape = local.sizes().vec();
    shape[0] *= size();
    const at::Tensor gathered = at::empty(shape, local.options());
    run("all_gather", [&] { calls_->all_gather(local, gathered); });
    return gathered;
  }
  void all_reduce_sum(at::Tensor& tensor) override {
    if (!calls_->on_device(tensor)) return host_->all_reduce_sum(tensor);
    check(tensor, "all_reduce_sum");
    run("all_reduce_sum", [&] { calls_->all_reduce_sum(tensor); });
  }
  at::Tensor reduce_scatter_sum(const at::Tensor& full) override {
    if (!calls_->on_device(full)) return host_->reduce_scatter_sum(full);
    check(full, "reduce_scatter_sum");
    auto shape = full.sizes().vec();
    shape[0] /= size();
    const at::Tensor part = at::empty(shape, full.options());
    run("reduce_scatter_sum", [&] { calls_->reduce_scatter_sum(full, part); });
    return part;
  }
  void broadcast(at::Tensor& tensor, int root) override {
    if (!calls_->on_device(tensor)) return host_->broadcast(tensor, root);
    check(tensor, "broadcast");
    run("broadcast", [&] { calls_->broadcast(tensor, root); });
  }
  void exchange(int peer, const at::Tensor& out, at::Tensor& in) override {
    start({{peer, out}}, {{peer, in}}, "exchange")->wait();
  }
  void barrier() override {
    confirm();
    host_->barrier();
  }
  void confirm() override {
    const std::lock_guard lock(mutex_);
    refuse_failed();
  }

  std::unique_ptr<Flight> start(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives,
                                const char* operation) override {
    const auto& any = sends.empty() ? receives : sends;
    if (any.empty() || !calls_->on_device(any.front().tensor))
      return host_->start(sends, receives, operation);
    for (const auto& parcel : sends) check(parcel.tensor, operation);
    for (const auto& parcel : receives) check(parcel.tensor, operation);
    return std::make_unique<StreamFlight>(*this, launch(operation, [&] {
      for (const auto& [peer, tensor] : receives) calls_->receive(tensor, peer);
      for (const auto& [peer, tensor] : sends) calls_->send(tensor, peer);
    }));
  }

 private:
  class StreamFlight final : public Flight {
   public:
    StreamFlight(StreamGroup& group, StreamCalls::Mark mark) : group_(group), mark_(std::move(mark)) {}
    ~StreamFlight() override {
      if (mark_) group_.spoil("a transfer was given up");
    }
    bool poll() override { return true; }  // nobody has to move it on
    void wait() override {
      if (const auto mark = std::exchange(mark_, nullptr)) group_.follow(mark);
    }

   private:
    StreamGroup& group_;
    StreamCalls::Mark mark_;
  };

  // On its way to the end: `started` when all that had to be done here before it was done.
  struct Operation {
    std::string name;
    StreamCalls::Mark ready, done;
    std::optional<steady_clock::time_point> started;
  };
  struct Failure {
    ErrorKind kind;
    std::string what;
  };

  void check(const at::Tensor& tensor, const char* operation) const {
    if (!tensor.is_contiguous() || !calls_->on_device(tensor))
      throw Error(ErrorKind::kInternal,
                  std::string(operation) + ": tensors must be contiguous and on the device");
  }

  template <class Body>
  void run(const char* operation, const Body& body) {
    follow(launch(operation, body));
  }

  void follow(const StreamCalls::Mark& mark) {
    const std::lock_guard lock(mutex_);
    refuse_failed();
    calls_->follow(mark);
  }

  template <class Body>
  StreamCalls::Mark launch(const char* name, const Body& body) {
    std::unique_lock lock(mutex_);
    refuse_failed();
    try {
      Operation operation{.name = name, .ready = calls_->open(), .done = nullptr, .started = {}};
      ask(body);
      calls_->close();
      wait_until(
          [&] {
            refuse_failed();
            return calls_->taken();
          },
          options_,
          [&](bool long_now) {
            lock.unlock();
            if (long_now) std::this_thread::sleep_for(kSleep);
            lock.lock();
          });
      operation.done = calls_->mark();
      pending_.push_back(operation);
      changed_.notify_all();
      return operation.done;
    } catch (const Error& error) {
      fail(error.kind(), name, error.what());
      throw Error(failure_->kind, failure_->what);
    }
  }

  // An operation that was left open would hold back what this thread asks of its next communicator.
  template <class Body>
  void ask(const Body& body) {
    try {
      body();
    } catch (const std::exception&) {
      try {
        calls_->close();
      } catch (const std::exception&) {  // the first reason is the one to tell
      }
      throw;
    }
  }

  void refuse_failed() const {
    if (failure_) throw Error(failure_->kind, failure_->what);
  }

  // With the mutex held. The first failure stays; it is known before the device goes on.
  void fail(ErrorKind kind, const std::string& operation, const std::string& why) {
    if (failure_) return;
    failure_ = {kind, operation + " at rank " + std::to_string(rank()) + " (" + calls_->name() + "): " + why};
    pending_.clear();
    calls_->abort();
  }
  void spoil(const std::string& why) {
    const std::lock_guard lock(mutex_);
    fail(ErrorKind::kTryAgain, "transfer", why);
  }

  void watch() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return leaving_ || !pending_.empty(); });
      if (leaving_) return;
      try {
        look();
      } catch (const Error& error) {
        fail(error.kind(), pending_.empty() ? "collective" : pending_.front().name, error.what());
      }
      changed_.wait_for(lock, kWatchEvery, [&] { return leaving_; });
    }
  }

  void look() {
    while (!pending_.empty() && calls_->passed(pending_.front().done)) pending_.pop_front();
    static_cast<void>(calls_->taken());  // throws what the communicator has met
    if (pending_.empty()) return;
    Operation& first = pending_.front();
    if (!first.started && calls_->passed(first.ready)) first.started = steady_clock::now();
    if (options_.stopped && options_.stopped()) throw Error(ErrorKind::kCancelled, "cancelled");
    if (first.started && steady_clock::now() - *first.started > options_.deadline)
      throw Error(ErrorKind::kTryAgain, too_late(options_));
  }

  void end_in_peace() {
    try {
      wait_until(
          [&] {
            while (!pending_.empty() && calls_->passed(pending_.front().done)) pending_.pop_front();
            return pending_.empty();
          },
          options_, [](bool) { std::this_thread::sleep_for(kSleep); });
      calls_->finish();
    } catch (const std::exception&) {  // the result was complete, or an error has been thrown for it
      calls_->abort();
    }
  }

  std::unique_ptr<Group> host_;
  std::unique_ptr<StreamCalls> calls_;
  GroupOptions options_;
  std::mutex mutex_;  // of the calls and of all below
  std::condition_variable changed_;
  std::deque<Operation> pending_;
  std::optional<Failure> failure_;
  bool leaving_ = false;
  std::thread watcher_;  // last: it reads all of the others
};

}  // namespace

void connect(StreamCalls& calls, const GroupOptions& options) {
  try {
    wait_until([&] { return calls.taken(); }, options, [](bool) { std::this_thread::sleep_for(kSleep); });
  } catch (const Error&) {
    calls.abort();
    throw;
  }
}

std::unique_ptr<Group> make_stream_group(std::unique_ptr<Group> host, std::unique_ptr<StreamCalls> calls,
                                         const GroupOptions& options) {
  return std::make_unique<StreamGroup>(std::move(host), std::move(calls), options);
}

}  // namespace trireme::worker::collective

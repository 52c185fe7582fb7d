#include "worker/stages/index/serve_tool.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "jobs/search/clip_words.h"
#include "jobs/search/frames.h"
#include "worker/kernels/threads.h"
#include "worker/stages/index/engine.h"

namespace trireme::worker::stages::index {
namespace {

using jobs::Frame;
using jobs::SearchCall;
using nlohmann::ordered_json;

constexpr std::size_t kSearchesAtOnce = 64;
constexpr int kSocket = STDIN_FILENO;

class Mouth {
 public:
  void say(const Frame& frame) {
    const std::string bytes = jobs::encoded(frame);
    const std::lock_guard lock(mutex_);
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t sent = ::write(kSocket, bytes.data() + done, bytes.size() - done);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) return;  // the service has gone, which the reader finds out
      done += static_cast<std::size_t>(sent);
    }
  }
  void say(std::uint64_t number, std::string body) { say({number, 0, std::move(body)}); }
  void say(std::uint64_t number, const Error& error) {
    say({number, jobs::code_of(error.kind()), error.what()});
  }

 private:
  std::mutex mutex_;
};

// Calls that wait, for one thread.
class Queue {
 public:
  void put(Frame frame) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(frame));
    changed_.notify_one();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_one();
  }
  // At least one call, at most `most`; none when closed and empty.
  std::vector<Frame> take(std::size_t most) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
    std::vector<Frame> taken;
    while (!waiting_.empty() && taken.size() < most) {
      taken.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    return taken;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Frame> waiting_;
  bool closed_ = false;
};

class SearchWorker {
 public:
  SearchWorker(int threads, const std::vector<std::string>& named_runs) : threads_(threads) {
    for (const auto& one : named_runs) {
      const auto equals = one.find('=');
      const std::string name = one.substr(0, equals);
      engines_.emplace(name, std::make_unique<Engine>(one.substr(equals + 1), name));
    }
    ordered_json indexes = ordered_json::array();
    for (const auto& [name, engine] : engines_) indexes.push_back(ordered_json::parse(engine->description()));
    ready_ = ordered_json{{"indexes", indexes}}.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  }

  void run() {
    std::thread searcher([this] { search_all(); }), looker([this] { look_all(); });
    std::string bytes;
    std::array<char, 1 << 16> some{};
    for (;;) {
      const ssize_t got = ::read(kSocket, some.data(), some.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      bytes.append(some.data(), static_cast<std::size_t>(got));
      while (auto frame = jobs::take_frame(bytes)) {
        const auto call = static_cast<SearchCall>(frame->code);
        const bool looks =
            call == SearchCall::kItem || call == SearchCall::kThumbnail || call == SearchCall::kMetadata;
        (looks ? looks_ : searches_).put(std::move(*frame));
      }
    }
    searches_.close();
    looks_.close();
    searcher.join();
    looker.join();
  }

 private:
  Engine& engine(const std::string& name) {
    if (name.empty() && engines_.size() == 1) return *engines_.begin()->second;
    const auto found = engines_.find(name);
    if (found == engines_.end())
      throw Error(ErrorKind::kNotFound, "there is no index '" + printable(name, 100) + "'",
                  "GET /api/v1/indexes lists them");
    return *found->second;
  }

  void search_all() {
    kernels::set_torch_threads(threads_);        // of this thread's parallel regions
    for (const auto& [name, engine] : engines_)  // the first of all takes several times as long
      engine->answer({{.parts = {{.value = "a picture"}}, .k = 1}});
    mouth_.say(0, ready_);
    for (auto calls = searches_.take(kSearchesAtOnce); !calls.empty();
         calls = searches_.take(kSearchesAtOnce)) {
      std::map<std::pair<Engine*, bool>, std::pair<std::vector<jobs::SearchQuery>, std::vector<Frame*>>>
          groups;
      for (auto& call : calls) try {
          const auto what = static_cast<SearchCall>(call.code);
          auto query =
              what == SearchCall::kKnn ? jobs::query_of_knn(call.body) : jobs::query_from_json(call.body);
          auto& [queries, frames] = groups[{&engine(query.index), what == SearchCall::kRows}];
          queries.push_back(std::move(query));
          frames.push_back(&call);
        } catch (const Error& error) {
          mouth_.say(call.number, error);
        } catch (const std::exception& error) {
          mouth_.say(call.number, Error(ErrorKind::kInvalid, error.what()));
        }
      for (auto& [of, asked] : groups) try {
          answer(of.second ? of.first->part_rows(asked.first) : of.first->answer(asked.first), asked.second);
        } catch (const std::exception& error) {
          for (const Frame* call : asked.second)
            mouth_.say(call->number, Error(ErrorKind::kInternal, error.what()));
        }
    }
  }

  void answer(const std::vector<Outcome>& outcomes, const std::vector<Frame*>& calls) {
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (const auto* error = std::get_if<Error>(&outcomes[i])) {
        mouth_.say(calls[i]->number, *error);
        continue;
      }
      const auto& json = std::get<std::string>(outcomes[i]);
      const bool knn = static_cast<SearchCall>(calls[i]->code) == SearchCall::kKnn;
      mouth_.say(calls[i]->number, knn ? jobs::knn_of_answer(json) : json);
    }
  }

  std::string look(const Frame& call) {
    const auto json = ordered_json::parse(call.body, nullptr, false);
    if (!json.is_object()) throw Error(ErrorKind::kInvalid, "the body is no JSON object");
    const auto text = [&](const char* name) {
      const auto value = json.find(name);
      return value != json.end() && value->is_string() ? value->get<std::string>() : std::string();
    };
    switch (static_cast<SearchCall>(call.code)) {
      case SearchCall::kItem:
        return engine(text("index")).item(text("id"));
      case SearchCall::kThumbnail:
        return engine(text("index")).thumbnail(text("id"));
      case SearchCall::kMetadata:
        return engine(text("indice_name")).metadata(call.body);
      case SearchCall::kSearch:
      case SearchCall::kKnn:
      case SearchCall::kRows:
        break;
    }
    throw Error(ErrorKind::kInternal, "an unknown call");
  }

  void look_all() {
    for (auto calls = looks_.take(1); !calls.empty(); calls = looks_.take(1)) try {
        mouth_.say(calls[0].number, look(calls[0]));
      } catch (const Error& error) {
        mouth_.say(calls[0].number, error);
      } catch (const std::exception& error) {
        mouth_.say(calls[0].number, Error(ErrorKind::kInternal, error.what()));
      }
  }

  const int threads_;
  std::string ready_;  // what is said once queries are answered as fast as they will be
  Mouth mouth_;
  std::map<std::string, std::unique_ptr<Engine>> engines_;
  Queue searches_, looks_;
};

}  // namespace

int run_search_worker(int argc, char** argv) {
  if (argc < 3)
    throw Error(ErrorKind::kUsage, "a search worker is started by `trireme serve`", "trireme serve RUN");
  start_log("search-worker");
  std::signal(SIGPIPE, SIG_IGN);
  for (const int signal : {SIGINT, SIGHUP, SIGTERM}) std::signal(signal, SIG_IGN);  // the service ends it
  const int threads = std::max(1, std::atoi(argv[1]));
  kernels::set_torch_threads(threads);
  SearchWorker worker(threads, {argv + 2, argv + argc});
  worker.run();
  return 0;
}

}  // namespace trireme::worker::stages::index

// What answers a service's calls: its own workers, for the runs that it serves itself, and indexes whose
// parts other services have. Everything runs on the service's one I/O thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/serve/service.h"
#include "coordinator/serve/spread_index.h"
#include "coordinator/serve/worker_pool.h"

namespace trireme::coordinator::serve {

class Backends {
 public:
  // `runs`: folders by name; workers are started where there are any. `metrics` outlive it. Throws kUsage for
  // two indexes of one name.
  Backends(net::io_context& io, const ServiceOptions& options, const std::map<std::string, std::string>& runs,
           telemetry::Metrics& metrics);

  void start();
  void stop();
  void replace() { pool_.replace(); }
  bool is_replacing() const { return pool_.is_replacing(); }

  // By the index that the call names, in its body or as `index`.
  net::awaitable<jobs::Frame> call(jobs::SearchCall what, std::string body, const std::string& index);

  bool is_ready() const;
  std::string failure() const;  // why it will never be; "" otherwise
  std::size_t waiting() const { return pool_.waiting(); }
  nlohmann::ordered_json description() const;  // {"indexes": […]}; null before any is ready
  std::function<void()> changed;               // as WorkerPool's

 private:
  net::awaitable<void> look_again();
  SpreadIndex* spread_of(jobs::SearchCall what, const std::string& body, const std::string& index) const;

  net::io_context& io_;
  const bool has_own_;
  WorkerPool pool_;
  std::vector<std::unique_ptr<SpreadIndex>> spread_;
  bool stopping_ = false;
};

}  // namespace trireme::coordinator::serve

// The HTTP API (API.md beside this file): one table of endpoints, closed by default. Connections live on one
// I/O thread, calls of the Face on small pools, one per kind of call (lanes.h), so that a slow ledger never
// delays /healthz, nor a plan over a million shards a status.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/http/limits.h"
#include "common/io/file.h"
#include "coordinator/service/face.h"
#include "jobs/protocol/version.h"

namespace trireme::telemetry {
class Metrics;
}

namespace trireme::coordinator::api {

struct ServerOptions : http::Limits {
  std::string listen = "127.0.0.1:0";  // host:port, port 0: a free one; IPv6 as [::1]:8080
  io::Path run_folder;                 // endpoint.json, token and logs/ lie here
  std::string run_id;
  Incarnation incarnation;
  std::string version = trireme::version();
  bool require_token = true;  // false: only on a loopback address
  std::vector<std::string>
      allowed_hosts;                      // accepted in Host besides localhost, 127.0.0.1, [::1] and `listen`
  std::vector<io::Path> data_roots;       // specs may read only under these; empty: the working directory
  std::vector<io::Path> output_roots;     // … and write only under these; empty: the run folder's parent
  bool any_file = false;                  // the operator's own job runs: its output may lie anywhere
  telemetry::Metrics* metrics = nullptr;  // may be null; outlives the server
  // Of logs; tests shorten them.
  std::chrono::milliseconds follow_poll{500}, follow_heartbeat{15000};
  std::size_t most_followers = 64;                // of logs, beside the connections
  std::size_t most_submits = 64, most_plans = 8;  // waiting or at work; beyond it 429
};

class Server {
 public:
  // Listens, makes the token on first use (64 hex digits, mode 0600), then writes endpoint.json (atomically).
  // Throws kConflict when the port is taken, kUsage for an address that is not one or a non-loopback one
  // without a token, kInvalid when the token file is readable by others. `face` outlives the server.
  Server(service::Face& face, ServerOptions options);
  ~Server();  // cuts every connection, waits for Face calls in flight
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const;
  const std::string& url() const;  // http://127.0.0.1:41234

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme::coordinator::api

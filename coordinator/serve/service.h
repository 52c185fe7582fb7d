// The search service: HTTP in front of the workers that hold models and indexes (docs/search.md,
// openapi.json).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/http/limits.h"
#include "common/io/file.h"

namespace trireme::coordinator::serve {

// RELIABILITY 5, amended: 256 connections, a picture of at most 10 MiB as base64 in a body.
struct ServiceLimits : http::Limits {
  ServiceLimits() {
    body_limit_bytes = 15U << 20;
    most_connections = most_connections_per_address = 256;
  }
};

struct ServiceOptions {
  std::vector<std::string> runs;    // run folders or index folders
  std::vector<std::string> spread;  // indexes whose parts other services have, as SpreadIndex takes them
  std::string spread_token;         // file of the token that those want; "": none
  std::string listen = "127.0.0.1:0";
  int workers = 1, threads = 1;  // threads of each worker
  std::string worker_program;    // trireme-worker
  std::string state;             // where search-token lies; "": the first run
  std::vector<std::string> allowed_hosts;
  bool require_token = false;  // on loopback, too
};

class Service {
 public:
  // Listens and starts the workers. Throws kUsage for an address that is none or runs of one name, kNotFound
  // for a run without an index, kConflict when the port is taken.
  explicit Service(ServiceOptions options);
  ~Service();  // cuts what is left
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Until every worker's index is open. Throws kUnavailable when one cannot start.
  void wait_until_ready();
  // Until SIGTERM or SIGINT; then no new call is taken, and those in flight have ten seconds.
  void run_until_signalled();

  const std::string& url() const;
  // A link that opens the door once; the plain address where it is open.
  std::string link();
  io::Path token_file() const;  // "" where the door is open

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme::coordinator::serve

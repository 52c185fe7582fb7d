// What the API may ask of the coordinator. Every call is thread-safe: it posts an event to the state thread,
// waits for the commit, and returns; nothing is answered before it is durable. Results are JSON documents of
// the HTTP API (coordinator/api/API.md). Throws Error (kNotFound, kConflict, kDiskFull, kUnavailable …).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::service {

struct SubmitAnswer {
  enum class Outcome {
    kCreated,
    kSameAsBefore,
    kKeyReused,
    kInvalid,
    kQueueFull
  } outcome = Outcome::kCreated;
  std::string job_id;
  std::string body;                     // the job as describe() gives it; kQueueFull: why
  std::vector<jobs::SpecFault> faults;  // kInvalid
};

class Face {
 public:
  virtual ~Face() = default;
  virtual SubmitAnswer submit(const std::string& spec_json, const std::string& idempotency_key) = 0;
  virtual std::string plan(const std::string& spec_json,
                           std::vector<jobs::SpecFault>& faults) = 0;  // dry run
  virtual std::string list_jobs(const std::string& state, std::int64_t limit,
                                const std::string& page_token) = 0;
  virtual std::string describe(
      const std::string& job_id) = 0;  // state, cause, stages with progress, training, workers, ETA
  virtual std::string spec(const std::string& job_id) = 0;  // effective
  virtual std::string events(const std::string& job_id, std::uint64_t after_sequence, std::int64_t limit) = 0;
  virtual std::string cancel(
      const std::string& job_id) = 0;  // idempotent; a terminal job answers with its state
  virtual std::string report(const std::string& job_id) = 0;  // writes report.html, returns its path
  virtual std::string service_discovery() = 0;                // Prometheus http_sd
  virtual bool ready(std::string& reasons) = 0;  // ledger checked and loaded, workers up, disk above reserve
};

}  // namespace trireme::coordinator::service

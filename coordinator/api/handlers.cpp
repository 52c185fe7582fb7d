#include "coordinator/api/handlers.h"

#include <algorithm>
#include <charconv>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/door.h"
#include "common/io/log_tail.h"
#include "coordinator/api/documents.h"
#include "coordinator/api/spec_roots.h"
#include "jobs/specification/json/names.h"
#include "jobs/store/published.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::api {
namespace {

using Outcome = service::SubmitAnswer::Outcome;
constexpr std::chrono::seconds kPlanBudget{30};
constexpr std::uint64_t kLargestReport = 64U << 20;

// Faults of paths outside the roots; faults of the specification itself are the Face's to report.
std::vector<jobs::SpecFault> root_faults(const ServerOptions& options, const std::string& body) {
  const jobs::ReadResult read = jobs::read_job(body);
  if (!read.ok()) return {};
  return paths_outside_roots(read.job, options.data_roots, options.output_roots, options.run_folder);
}

io::Roots roots_of(const ServerOptions& options) {
  io::Roots roots{options.data_roots, options.output_roots, {options.run_folder}};
  if (const io::Path weights = jobs::weights_folder(); !weights.empty()) roots.read.push_back(weights);
  return roots;
}

Response faulty(const std::vector<jobs::SpecFault>& faults, const Request& request) {
  const bool syntax = !faults.empty() && std::all_of(faults.begin(), faults.end(), [](const auto& fault) {
    return fault.code == "syntax";
  });
  std::vector<jobs::SpecFault> told;  // those of reading are counted already
  for (const auto& fault : faults)
    if (faults.size() <= jobs::kMostFaults + 1)
      told.push_back(fault);
    else
      jobs::add_fault(told, fault);
  return problem(
      syntax ? 400 : 422,
      "the specification has " + std::to_string(faults.size()) + (faults.size() == 1 ? " fault" : " faults"),
      request.request_id, told);
}

std::string idempotency_key(const Request& request) {
  if (request.headers.count("idempotency-key") > 1)
    throw Error(ErrorKind::kUsage, "more than one Idempotency-Key was sent");
  std::string key = request.header("idempotency-key");
  const bool printable_key = std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  if (key.size() > 255 || !printable_key)
    throw Error(ErrorKind::kUsage,
                "Idempotency-Key must be at most 255 printable ASCII characters without spaces");
  return key;
}

Response submit(service::Face& face, const ServerOptions& options, const Request& request) {
  const std::string key = idempotency_key(request);
  if (const auto faults = root_faults(options, request.body); !faults.empty()) return faulty(faults, request);
  const service::SubmitAnswer answer = face.submit(request.body, key);
  switch (answer.outcome) {
    case Outcome::kInvalid:
      return faulty(answer.faults, request);
    case Outcome::kKeyReused:
      return problem(422, "this Idempotency-Key was used with another specification", request.request_id,
                     std::vector<jobs::SpecFault>{
                         {"", "key_reused", "the key belongs to job " + answer.job_id, "send a fresh key"}});
    case Outcome::kQueueFull:
      return problem(429, answer.body, request.request_id);
    case Outcome::kSameAsBefore:
      return {200, "application/json", answer.body};
    case Outcome::kCreated:
      break;
  }
  return {201, "application/json", answer.body, {{"Location", "/api/v1/jobs/" + answer.job_id}}};
}

Response plan(service::Face& face, const ServerOptions& options, const Request& request) {
  const io::Door door(roots_of(options), std::chrono::steady_clock::now() + kPlanBudget);
  const io::Behind behind(&door);
  if (const auto faults = root_faults(options, request.body); !faults.empty()) return faulty(faults, request);
  std::vector<jobs::SpecFault> faults;
  const std::string planned = face.plan(request.body, faults);
  return faults.empty() ? Response{200, "application/json", planned} : faulty(faults, request);
}

Response list(service::Face& face, const Target& target) {
  const auto value = [&](const char* name) {
    const auto found = target.query.find(name);
    return found == target.query.end() ? std::string() : found->second;
  };
  return {200, "application/json",
          face.list_jobs(value("state"), query_number(target, "limit", 50, 1, 500), value("page_token"))};
}

io::LogTail open_logs(service::Face& face, const ServerOptions& options, const Admission& admission) {
  face.describe(admission.match.job_id);  // throws kNotFound
  return {store::RunPaths{options.run_folder}.logs(),
          static_cast<int>(query_number(admission.target, "rank", -1, 0, 1000000)),
          query_number(admission.target, "tail", -1, 0, 1000000)};
}

Response logs(service::Face& face, const ServerOptions& options, const Admission& admission) {
  io::LogTail tail = open_logs(face, options, admission);
  std::string text;
  for (std::string part = tail.next(); !part.empty(); part = tail.next()) text += part;
  return {200, "text/plain; charset=utf-8", text};
}

Response report(service::Face& face, const std::string& job_id) {
  const std::string file = face.report(job_id);
  return {200,
          "text/html; charset=utf-8",
          io::read_file(file, kLargestReport),
          {{"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}}};
}

Response ready(service::Face& face) {
  std::string reasons;
  const bool is_ready = face.ready(reasons);
  Response response{is_ready ? 200 : 503, "application/json", ready_json(is_ready, reasons)};
  if (!is_ready) response.headers.emplace_back("Retry-After", "1");
  return response;
}

Response dispatch(service::Face& face, const ServerOptions& options, const Admission& admission,
                  const Request& request) {
  const std::string& id = admission.match.job_id;
  const auto json = [](std::string body) { return Response{200, "application/json", std::move(body)}; };
  switch (admission.match.endpoint->action) {
    case Action::kHealth:
      return json(health_json());
    case Action::kVersion:
      return json(version_json(options));
    case Action::kReady:
      return ready(face);
    case Action::kDiscovery:
      return json(face.service_discovery());
    case Action::kSubmit:
      return submit(face, options, request);
    case Action::kPlan:
      return plan(face, options, request);
    case Action::kList:
      return list(face, admission.target);
    case Action::kDescribe:
      return json(face.describe(id));
    case Action::kSpec:
      return json(face.spec(id));
    case Action::kEvents:
      return json(face.events(
          id, static_cast<std::uint64_t>(query_number(admission.target, "after", 0, 0, 9007199254740992)),
          query_number(admission.target, "limit", 100, 1, 1000)));
    case Action::kLogs:
      return logs(face, options, admission);
    case Action::kReport:
      return report(face, id);
    case Action::kCancel:
      return json(face.cancel(id));
  }
  throw Error(ErrorKind::kInternal, "an endpoint without a handler");
}

// Errors become answers; what a caller cannot act on is only in the log.
template <class Call>
Response guarded(const Request& request, Call call) {
  try {
    return call();
  } catch (const Error& error) {
    const int status = status_of(error.kind());
    if (status == 500) log_error("api", "request " + request.request_id + ": " + error.what());
    return problem(status, error.what(), request.request_id);
  } catch (const std::exception& error) {
    log_error("api", "request " + request.request_id + ": " + error.what());
    return problem(500, "an internal error; the coordinator's log has it under this request_id",
                   request.request_id);
  }
}

}  // namespace

std::int64_t query_number(const Target& target, const std::string& name, std::int64_t otherwise,
                          std::int64_t least, std::int64_t most) {
  const auto found = target.query.find(name);
  if (found == target.query.end()) return otherwise;
  std::int64_t value = 0;
  const char* end = found->second.data() + found->second.size();
  const auto [stop, code] = std::from_chars(found->second.data(), end, value);
  if (code != std::errc() || stop != end || value < least || value > most)
    throw Error(ErrorKind::kUsage, "query parameter '" + name + "' must be a whole number from " +
                                       std::to_string(least) + " to " + std::to_string(most));
  return value;
}

Response handle(service::Face& face, const ServerOptions& options, const Admission& admission,
                const Request& request) {
  return guarded(request, [&] { return dispatch(face, options, admission, request); });
}

Response handle_follow(service::Face& face, const ServerOptions& options, const Admission& admission,
                       const Request& request, std::optional<io::LogTail>& tail) {
  return guarded(request, [&] {
    tail.emplace(open_logs(face, options, admission));
    return Response{200, "text/plain; charset=utf-8", ""};
  });
}

bool is_over(service::Face& face, const std::string& job_id) {
  try {
    return is_terminal(face.describe(job_id));
  } catch (const std::exception&) {
    return true;
  }
}

}  // namespace trireme::coordinator::api

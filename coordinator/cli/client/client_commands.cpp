#include "coordinator/cli/client/client_commands.h"

#include <algorithm>
#include <filesystem>
#include <thread>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "common/io/log_tail.h"
#include "coordinator/cli/client/api_client.h"
#include "coordinator/cli/client/display.h"
#include "coordinator/cli/client/format.h"
#include "coordinator/cli/client/job_text.h"
#include "coordinator/cli/plan/spec_file.h"
#include "coordinator/cli/results.h"
#include "jobs/specification/spec_paths.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {
namespace {

constexpr std::int64_t kPage = 500;

std::string job_path(const std::string& job) {
  return "/api/v1/jobs/" + url_escaped(job);
}

std::string time_text(const std::string& time) {
  return printable(time.substr(0, 19), 40);
}

std::string first_letter_capital(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

// Logs of a folder on this machine.
int show_local_logs(std::ostream& out, const io::Path& folder, bool follow, int rank, std::int64_t tail) {
  const io::Path logs_folder = store::RunPaths{folder}.logs();
  if (!io::is_folder(logs_folder))
    throw Error(ErrorKind::kNotFound,
                folder.string() + " holds no logs: the run was not started by trireme launch",
                "look where mpirun was started: the ranks wrote to its standard error");
  io::LogTail logs(logs_folder, rank, tail);
  for (;;) {
    const std::string text = logs.next();
    out << text << std::flush;
    if (!text.empty()) continue;
    if (!follow) return 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

bool holds_run(const io::Path& folder) {
  const store::RunPaths run{folder};
  return io::is_folder(run.logs()) || io::exists(run.report());
}

}  // namespace

int submit_job(const ClientOptions& options, const std::string& file,
               const std::vector<std::string>& overrides, const std::string& key, bool wait) {
  jobs::JobSpec job = read_job_file(file, overrides);
  jobs::make_paths_absolute(job, io::working_folder().string());
  const ApiClient client(options.run_folder);
  const std::string body =
      client.post("/api/v1/jobs", jobs::effective_json(job), key.empty() ? random_key() : key);
  const JobView made = job_view_from_json(body);
  if (options.json)
    *options.out << body << (body.empty() || body.back() != '\n' ? "\n" : "");
  else
    *options.out << made.id << " " << made.state << "\n";
  return wait ? watch_job(options, made.id) : 0;
}

int list_jobs(const ClientOptions& options, const std::string& state, std::int64_t limit) {
  const ApiClient client(options.run_folder);
  std::vector<std::vector<std::string>> rows{{"job", "name", "state", "stages", "submitted", "cause"}};
  std::string token;
  std::int64_t left = limit;
  do {
    const std::string body = client.get("/api/v1/jobs?limit=" + std::to_string(std::min(left, kPage)) +
                                        "&state=" + url_escaped(state) + "&page_token=" + url_escaped(token));
    if (options.json) {
      *options.out << body << "\n";
      return 0;
    }
    const JobPage page = job_page_from_json(body);
    for (const auto& job : page.jobs) {
      const auto done = std::count_if(job.stages.begin(), job.stages.end(),
                                      [](const auto& stage) { return stage.state == "done"; });
      rows.push_back({printable(job.id), printable(job.name, 60), printable(job.state),
                      std::to_string(done) + "/" + std::to_string(job.stages.size()),
                      time_text(job.submitted), printable(job.cause, 100)});
    }
    left -= static_cast<std::int64_t>(page.jobs.size());
    token = page.jobs.empty() ? "" : page.next_page_token;
  } while (!token.empty() && left > 0);
  *options.out << table_text(rows);
  return 0;
}

int describe_job(const ClientOptions& options, const std::string& job) {
  const std::string body = ApiClient(options.run_folder).get(job_path(job));
  if (options.json)
    *options.out << body << "\n";
  else
    *options.out << job_text(body);
  return 0;
}

int watch_job(const ClientOptions& options, const std::string& job) {
  const ApiClient client(options.run_folder, std::chrono::seconds(30));
  const RealClock clock;
  Display display(*options.out, options.is_terminal, clock);
  for (;;) {
    const std::string body = client.get(job_path(job));
    const JobView view = job_view_from_json(body);
    if (!options.json) display.update(view);
    if (view.terminal()) {
      display.finish();
      if (options.json)
        *options.out << body << "\n";
      else
        *options.out << "\n" << results_text(view);
      if (!view.cause.empty() && view.state != "SUCCEEDED" && !options.json)
        *options.out << first_letter_capital(printable(view.cause)) << "\n";
      return view.state == "SUCCEEDED" ? 0 : 1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

int show_events(const ClientOptions& options, const std::string& job, std::uint64_t after,
                std::int64_t limit) {
  const ApiClient client(options.run_folder);
  std::vector<std::vector<std::string>> rows;
  for (std::int64_t left = limit; left > 0;) {
    const std::string body = client.get(job_path(job) + "/events?after=" + std::to_string(after) +
                                        "&limit=" + std::to_string(std::min<std::int64_t>(left, 1000)));
    if (options.json) {
      *options.out << body << "\n";
      return 0;
    }
    const auto events = events_from_json(body);
    if (events.empty()) break;
    for (const auto& event : events)
      rows.push_back({std::to_string(event.sequence), time_text(event.time), printable(event.kind),
                      printable(event.payload, 160)});
    after = events.back().sequence;
    left -= static_cast<std::int64_t>(events.size());
  }
  rows.insert(rows.begin(), {"sequence", "time", "kind", "what"});
  *options.out << table_text(rows);
  return 0;
}

int cancel_job(const ClientOptions& options, const std::string& job) {
  const std::string body = ApiClient(options.run_folder).post(job_path(job) + ":cancel", "{}");
  const JobView view = job_view_from_json(body);
  if (options.json)
    *options.out << body << "\n";
  else
    *options.out << view.id << " " << view.state << "\n";
  return 0;
}

int show_logs(const ClientOptions& options, const std::string& job, bool follow, int rank,
              std::int64_t tail) {
  if (holds_run(job)) return show_local_logs(*options.out, job, follow, rank, tail);
  if (job.empty()) {
    if (!io::is_folder(store::RunPaths{options.run_folder}.logs()))
      throw Error(ErrorKind::kNotFound, "there are no logs in " + options.run_folder.string(),
                  "name a job, a run folder, or give --run");
    return show_local_logs(*options.out, options.run_folder, follow, rank, tail);
  }
  std::string query = follow ? "?follow=1" : "?follow=0";
  if (rank >= 0) query += "&rank=" + std::to_string(rank);
  if (tail >= 0) query += "&tail=" + std::to_string(tail);
  ApiClient(options.run_folder).stream(job_path(job) + "/logs" + query, [&](std::string_view piece) {
    if (piece != "\n") *options.out << piece << std::flush;  // a bare newline is the sign of life
    return true;
  });
  return 0;
}

int make_report(const ClientOptions& options, const std::string& job, const std::string& file) {
  const io::Path local = store::RunPaths{job}.report();
  if (io::exists(local)) {
    if (!file.empty()) io::write_file_atomic(file, io::read_file(local));
    *options.out << (file.empty() ? local.string() : file) << "\n";
    return 0;
  }
  const ApiClient client(options.run_folder);
  const std::string page = client.get(job_path(job) + "/report");
  if (!file.empty()) {
    io::write_file_atomic(file, page);
    *options.out << file << "\n";
    return 0;
  }
  *options.out << store::RunPaths{job_view_from_json(client.get(job_path(job))).output}.report().string()
               << "\n";
  return 0;
}

}  // namespace trireme::coordinator::cli

#include "coordinator/cli/launch/run_files.h"
#include "common/base/error.h"

#include <algorithm>
#include <charconv>

namespace trireme::coordinator::cli {
namespace {

// Without a `progress` member: finished tasks and training steps.
std::int64_t committed_in(const std::optional<JobView>& job) {
  if (!job) return 0;
  std::int64_t sum = job->training ? job->training->step : 0;
  for (const auto& stage : job->stages) sum += stage.tasks_done;
  return sum;
}

}  // namespace

std::optional<RunProgress> read_progress(const io::Path& run_folder) {
  const auto told = store::read_progress({run_folder});
  if (!told) return std::nullopt;
  RunProgress progress{told->incarnation, told->pid, 0, {}};
  if (told->job != "null") progress.job = job_view_from_json(told->job);
  progress.committed = told->progress ? *told->progress : committed_in(progress.job);
  return progress;
}

Headway::Headway(const std::optional<RunProgress>& before)
    : best_(before ? before->committed : 0), job_(before && before->job ? before->job->id : "") {}

bool Headway::made(const std::optional<RunProgress>& now, std::int64_t told) {
  const std::string job = now && now->job ? now->job->id : job_;
  if (job != job_ && !job_.empty()) best_ = -1;
  job_ = job;
  const std::int64_t committed = std::max(told, now ? now->committed : 0);
  const bool more = committed > best_;
  best_ = std::max(best_, committed);
  return more;
}

EndpointFile read_endpoint(const io::Path& run_folder) {
  EndpointFile endpoint{store::read_endpoint({run_folder}), "", 0};
  const std::string file = store::RunPaths{run_folder}.endpoint().string();
  const std::size_t colon = endpoint.url.rfind(':');
  if (endpoint.url.rfind("http://", 0) != 0 || colon < 8)
    throw Error(ErrorKind::kDamaged, file + " names no http:// address");
  endpoint.host = endpoint.url.substr(7, colon - 7);
  const char* digits = endpoint.url.c_str() + colon + 1;
  std::from_chars(digits, endpoint.url.c_str() + endpoint.url.size(), endpoint.port);
  if (endpoint.port <= 0 || endpoint.port > 65535) throw Error(ErrorKind::kDamaged, file + " names no port");
  return endpoint;
}

}  // namespace trireme::coordinator::cli

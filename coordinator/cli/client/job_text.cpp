#include "coordinator/cli/client/job_text.h"

#include <map>
#include <sstream>
#include <vector>

#include "common/base/log.h"
#include "coordinator/cli/client/display.h"
#include "coordinator/cli/client/format.h"
#include "coordinator/cli/client/json_members.h"

namespace trireme::coordinator::cli {
namespace {

using nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

constexpr double kSlow = 0.75;  // as the alert Straggler

// The objects of a list that may be missing or odd.
std::vector<json> objects_of(const json& document, const char* key) {
  std::vector<json> objects;
  if (const auto list = document.find(key); list != document.end() && list->is_array())
    for (const auto& one : *list)
      if (one.is_object()) objects.push_back(one);
  return objects;
}

std::string workers_text(const JobView& job, const json& document) {
  std::map<std::int64_t, double> speeds;  // over the fastest's
  for (const auto& worker : objects_of(document, "workers"))
    speeds[number_of<std::int64_t>(worker, "rank")] = number_of<double>(worker, "speed_ratio", 1);
  Rows rows{{"rank", "state", "host", "device", "task", ""}};
  for (const auto& worker : job.workers) {
    const double speed = speeds[worker.rank];
    rows.push_back({std::to_string(worker.rank), printable(worker.state), printable(worker.host),
                    printable(worker.device, 60), printable(worker.task),
                    speed < kSlow ? "slow: " + number_text(100 * speed, 0) + " % of the fastest" : ""});
  }
  return "\n" + table_text(rows);
}

std::string quarantine_text(const std::vector<json>& kept) {
  Rows rows{{"sample", "shard", "state", "deaths", "last"}};
  for (const auto& one : kept) {
    const std::string sample = text_of(one, "sample");
    rows.push_back({sample.empty() ? "(all)" : printable(sample), printable(text_of(one, "shard")),
                    printable(text_of(one, "state")), std::to_string(number_of<std::int64_t>(one, "deaths")),
                    printable(text_of(one, "last"))});
  }
  return "\n" + table_text(rows);
}

}  // namespace

std::string job_text(std::string_view text) {
  const JobView job = job_view_from_json(text);
  const json document = object_from(text, "the job document");
  std::ostringstream out;
  out << "job      " << printable(job.id) << "\nname     " << printable(job.name) << "\nstate    "
      << printable(job.state) << "\n";
  if (!job.cause.empty()) out << "cause    " << printable(job.cause) << "\n";
  out << "attempt  " << job.attempt << "\noutput   " << printable(job.output) << "\n\n";
  for (const auto& line : progress_lines(job, 160)) out << line << "\n";
  if (!job.workers.empty()) out << workers_text(job, document);
  if (const auto kept = objects_of(document, "quarantine"); !kept.empty()) out << quarantine_text(kept);
  return out.str();
}

}  // namespace trireme::coordinator::cli

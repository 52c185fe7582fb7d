#include "worker/stages/inspect/inspect_stage.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "jobs/specification/job_spec.h"
#include "worker/data/shards/quarantine.h"

namespace trireme::worker::stages::inspect {
namespace {

// The column names of the shard's source; the defaults when the task brings no data set.
jobs::SourceSpec source_of(const runtime::OpenedTask& task) {
  if (task.message.data.empty()) return {};
  const jobs::DataSpec data = task.data();
  const auto source = static_cast<std::size_t>(task.shard().source);
  if (source >= data.sources.size()) {
    throw Error(ErrorKind::kInternal, "inspect of " + task.shard().path + ": data set \"" +
                                          task.shard().data + "\" has no source " + std::to_string(source));
  }
  return data.sources[source];
}

// Keys of samples that killed workers; an inspection has no other settings.
std::vector<std::string> quarantined_of(const runtime::OpenedTask& task) {
  const auto settings = nlohmann::json::parse(task.message.settings, nullptr, false);
  return settings.is_object() ? settings.value("quarantined", std::vector<std::string>())
                              : std::vector<std::string>();
}

}  // namespace

jobs::TaskDone InspectStage::work(const Task& task, runtime::TaskContext& context) {
  const jobs::ShardRef& shard = task.shard();
  const jobs::SourceSpec source = source_of(task);
  const data::ShardScan scan = data::build_shard_index_without(quarantined_of(task), shard.path, shard.format,
                                                               source, task.output(), [&context] {
                                                                 if (context.stop != nullptr)
                                                                   context.stop->throw_if_stopped();
                                                               });
  if (!shard.sha256.empty() && shard.sha256 != scan.sha256) {
    throw Error(ErrorKind::kDamaged,
                "shard " + shard.path + " changed: sha256 " + scan.sha256 + ", expected " + shard.sha256,
                "bring the old file back, or submit the job again with the new one");
  }
  jobs::TaskDone done;

  done.counts["in"] = scan.samples;
  for (const auto& [reason, count] : scan.bad) done.counts["bad." + reason] = count;
  for (const auto& [reason, count] : scan.noted) done.counts["noted." + reason] = count;
  for (const auto& [what, count] : scan.seen)
    if (what != "label.largest") done.counts["seen." + what] = count;
  done.summary =
      jobs::to_json(jobs::ShardSummary{scan.sha256, scan.samples, scan.captions, scan.labels, scan.bad,
                                       scan.examples, scan.seen, scan.reading, scan.advice});
  if (context.progress) context.progress(scan.samples, scan.samples);
  return done;
}

}  // namespace trireme::worker::stages::inspect

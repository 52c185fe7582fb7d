// Results that workers would send, as a pure function of the task: every shard has `samples` usable samples
// and a SHA-256 made of its path's last part.
#pragma once

#include <string>

#include "common/io/hash.h"
#include "coordinator/planner/task_graph.h"

namespace trireme::coordinator::planner {

inline jobs::TaskDone fake_result(const jobs::Task& task, std::int64_t samples = 600) {
  jobs::TaskDone done;
  done.outputs.push_back({"", task.output + ".x", 1000, io::xxh3_64(task.address)});
  if (task.kind == jobs::TaskKind::kInspect) {
    jobs::ShardSummary summary;
    summary.sha256 = io::sha256_hex(io::Path(task.shard->path).filename().string());
    summary.samples = samples;
    done.summary = jobs::to_json(summary);
  }
  if (task.count > 0 && task.shard) done.counts = {{"in", task.count}, {"kept", task.count}};
  if (task.kind == jobs::TaskKind::kMeasure) done.counts = {{"measured", task.count}};
  return done;
}

inline std::vector<jobs::ShardRef> fake_shards(const std::string& data, std::int64_t count) {
  std::vector<jobs::ShardRef> shards;
  for (std::int64_t i = 0; i < count; ++i) {
    jobs::ShardRef shard;
    shard.data = data;
    shard.shard = i;
    shard.path = "/data/" + data + "/" + std::to_string(i) + ".tar";
    shard.format = jobs::DataFormat::kWebdataset;
    shards.push_back(shard);
  }
  return shards;
}

}  // namespace trireme::coordinator::planner

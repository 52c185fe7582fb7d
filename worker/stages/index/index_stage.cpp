#include "worker/stages/index/index_stage.h"

#include <map>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "worker/checkpoint/features.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/stages/index/index_folder.h"

namespace trireme::worker::stages::index {
namespace {

using ShardKey = std::pair<std::string, std::int64_t>;  // data set, position in its manifest

struct Inputs {
  std::map<ShardKey, jobs::ShardRef> shards;
  std::map<ShardKey, std::string> shard_indexes;
};

Inputs inputs_of(const runtime::TaskInputs& all) {
  Inputs inputs;
  for (const auto& shard : all.shards()) inputs.shards[{shard.data, shard.shard}] = shard;
  for (const auto& input : all.all(jobs::Role::kShardIndex))
    inputs.shard_indexes[{input.data, input.shard}] = input.path;
  return inputs;
}

// Shards get their numbers in the order in which features name them.
class ShardTable {
 public:
  ShardTable(const Inputs& inputs, IndexFolder& index) : inputs_(inputs), index_(index) {}

  std::int64_t number_of(const ShardKey& key) {
    const auto [at, added] = number_.emplace(key, static_cast<std::int64_t>(number_.size()));
    if (!added) return at->second;
    const auto shard = inputs_.shards.find(key);
    const auto shard_index = inputs_.shard_indexes.find(key);
    if (shard == inputs_.shards.end() || shard_index == inputs_.shard_indexes.end()) {
      throw Error(ErrorKind::kInternal, "shard " + std::to_string(key.second) + " of data set '" + key.first +
                                            "' has features but no index in the task's inputs");
    }
    index_.shards.push_back({key.first, shard->second.path, shard_index->second, shard->second.format});
    reader_ = std::make_unique<data::ShardReader>(shard->second.path, shard_index->second);
    reader_of_ = at->second;
    return at->second;
  }

  const data::ShardReader& reader(std::int64_t number) {
    if (reader_of_ != number) {
      const auto& shard = index_.shards[static_cast<std::size_t>(number)];
      reader_ = std::make_unique<data::ShardReader>(shard.path, shard.index);
      reader_of_ = number;
    }
    return *reader_;
  }

 private:
  const Inputs& inputs_;
  IndexFolder& index_;
  std::map<ShardKey, std::int64_t> number_;
  std::unique_ptr<data::ShardReader> reader_;  // of the last shard; features come shard by shard
  std::int64_t reader_of_ = -1;
};

}  // namespace

jobs::TaskDone IndexStage::work(const Task& task, runtime::TaskContext& context) {
  const Inputs inputs = inputs_of(task.inputs);
  const auto feature_files = task.inputs.all(jobs::Role::kFeatures);
  IndexFolder index;
  index.model = task.inputs.only(jobs::Role::kModel).path;
  ShardTable shards(inputs, index);
  std::vector<at::Tensor> rows;
  std::int64_t done = 0;
  for (const auto& input : feature_files) {
    context.stop->throw_if_stopped();
    const auto features = checkpoint::read_features(input.path);
    if (features.space != "shared" || !features.image.defined()) continue;
    const auto shard = shards.number_of({input.data, input.shard});
    const auto& reader = shards.reader(shard);
    for (std::int64_t row = 0; row < features.sample.size(0); ++row) {
      const auto sample = features.sample[row].item<std::int64_t>();
      index.items.push_back({reader.key(sample), shard, sample, reader.captions(sample)});
    }
    rows.push_back(features.image);
    if (context.progress) context.progress(++done, static_cast<std::int64_t>(feature_files.size()));
  }
  if (index.items.empty()) {
    throw Error(ErrorKind::kInvalid, "stage '" + task.stage() + "' has no embedded image to index",
                "look at the counts of its embed tasks: every image was bad or dropped");
  }
  index.image_ND = at::cat(rows);
  write_index(task.output(), index);
  jobs::TaskDone result;

  result.counts = {{"items", static_cast<std::int64_t>(index.items.size())}};
  result.summary =
      nlohmann::ordered_json{{"items", index.items.size()}, {"width", index.image_ND.size(1)}}.dump();
  return result;
}

}  // namespace trireme::worker::stages::index

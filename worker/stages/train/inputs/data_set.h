// One data set as a training task finds it in its inputs: shards with their readers, the samples that
// selection and filters left, stored features.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "jobs/protocol/messages.h"
#include "jobs/specification/data_spec.h"
#include "worker/data/batches/order.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/shards/written_captions.h"
#include "worker/embedding/encoder.h"

namespace trireme::worker::stages::train {

struct DataShard {
  jobs::ShardRef ref;
  std::shared_ptr<const data::ShardReader> reader;
  std::vector<std::int32_t> kept;                       // ascending
  std::shared_ptr<embedding::FeatureTable> features;    // null without stored features
  std::shared_ptr<const data::ShardCaptions> captions;  // null without a caption stage
  double weight = 1;
  std::vector<float> times;  // per kept sample, as ManifestShard::times
};

struct DataSet {
  jobs::DataSpec spec;
  std::vector<DataShard> shards;
  // By shard and sample, whose captions it is shown with (swap_captions()); empty: its own.
  std::vector<std::vector<data::SamplePosition>> texts_of;
  std::vector<std::string> classes, templates;  // of labelled samples
  double sidecar_seconds = 0;                   // processor time that reading written captions took

  std::int64_t samples() const;  // kept ones
  // Whether any of the first kept samples satisfies `has`: else what it asks for counts as absent.
  bool any_has(const std::function<bool(std::size_t shard, std::int64_t sample)>& has) const;
  std::vector<data::SamplePosition> positions() const;  // of the kept ones, in manifest order
  std::vector<embedding::Shard> for_encoder() const;
  bool stored_images() const;  // every shard that has kept samples has them
  bool stored_texts() const;
  std::vector<data::ManifestShard> manifest() const;
  data::SamplePosition text_owner(std::size_t shard, std::int64_t sample) const;
  std::vector<std::string> captions(std::size_t shard, std::int64_t sample) const;  // of the text owner
};

// Throws kInvalid naming data set and shard: an index or a verdict missing, nothing left to read.
DataSet load_data_set(const std::string& name, const jobs::DataSpec& spec,
                      const std::vector<jobs::InputsLine>& inputs);

}  // namespace trireme::worker::stages::train

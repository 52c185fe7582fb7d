// One batch of samples through the towers, on the calling thread with one intra-op thread, so that the bits
// do not depend on the number of cores. Legend: b samples of the batch that could be decoded, c their
// captions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "worker/checkpoint/features.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::stages::embed {

struct EncoderOptions {
  bool image = true, text = true;  // towers to run
  bool project = false;            // into the shared space
  bool bf16 = false;
  std::string device = "cpu";
  std::vector<std::string> classes, templates;  // as in data::captions_of()
  checkpoint::Features stored;  // tower features of the same shard, to project instead of running a tower
};

struct EncodedBatch {
  std::vector<std::int64_t> samples;  // b positions in the shard
  at::Tensor image;                   // [b, width], undefined when images are off
  at::Tensor text;                    // [c, width], undefined when texts are off
  std::vector<std::int64_t> owner;    // c rows of `samples`
  std::vector<std::int64_t> labels;   // b, -1 for none
  std::int64_t truncated = 0;
  std::map<std::string, std::int64_t> bad;  // undecodable samples by reason; left out of all of the above
};

class BatchEncoder {
 public:
  // Both live longer than the encoder. Throws kInvalid when stored features do not fit the model.
  BatchEncoder(const data::ShardReader& shard, models::DualEncoder& model, EncoderOptions options);

  // Thread-safe. `samples`: positions in the shard, ascending.
  EncodedBatch encode(const std::vector<std::int64_t>& samples) const;

 private:
  void encode_images(const std::vector<std::int64_t>& samples, EncodedBatch& batch) const;
  void look_up_images(const std::vector<std::int64_t>& samples, EncodedBatch& batch) const;
  void encode_captions(EncodedBatch& batch) const;
  void look_up_captions(EncodedBatch& batch) const;

  const data::ShardReader& shard_;
  models::DualEncoder& model_;
  EncoderOptions options_;
  std::map<std::int64_t, std::int64_t> stored_row_;  // sample -> row of stored.sample
  std::map<std::int64_t, std::vector<std::int64_t>>
      stored_texts_;  // row of stored.sample -> rows of stored.text
};

}  // namespace trireme::worker::stages::embed

// Batches for training: decode, crop and normalise on threads, a bounded number of steps ahead, in the order
// of SampleOrder.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/specification/data_spec.h"
#include "jobs/specification/stages/stage_spec.h"
#include "worker/data/batches/order.h"
#include "worker/data/images/image.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/shards/written_captions.h"

namespace trireme::worker::data {

// The part of one step's batch that one logical slot computes. b = global_batch / logical_slots rows, always.
struct SlotBatch {
  at::Tensor image_BCHW;  // float32; rows of padding and bad samples are zero; undefined when images are off
  // Or, where they are asked for, uint8 as they were resized: not normalised and not mirrored
  // (device_images.h).
  at::Tensor bytes_BHWC;
  std::vector<std::uint8_t> mirrored;  // one per row, beside bytes
  std::vector<std::string>
      captions;  // one per row, drawn by (seed, epoch, shard sha256, sample); "" where not live
  std::vector<std::string> synthetic_captions;  // one per row when they are asked for
  std::vector<SamplePosition> samples;          // sample -1: padding
  std::vector<std::int64_t> caption_choice;     // index of the drawn caption
  std::vector<std::uint8_t> live;               // 0: padding or bad; such a row leaves loss and negatives
};

struct LoaderOptions {
  std::int64_t global_batch = 0, logical_slots = 0;
  std::int64_t first_slot = 0, last_slot = 0;  // own slots [first, last)
  std::uint64_t seed = 0;
  jobs::AugmentSpec augment;
  std::int64_t image_px = 224;
  Normalization normalization;
  Filter filter = Filter::kBicubic;
  bool images = true;  // false: positions and captions only (stored features)
  bool bytes = false;  // bytes_BHWC instead of image_BCHW, in pinned memory: for a GPU
  bool captions = true;
  // Whose captions a sample has: per reader and sample; empty: its own.
  std::vector<std::vector<SamplePosition>> captions_of;
  // Field of the sample's .json that holds its synthetic caption, "": not read. A sample without one is bad
  // ("no_synthetic_caption").
  std::string synthetic_caption;
  // Or the sample's own caption of this index, which is then not drawn; -1: none.
  std::int64_t own_caption = -1;
  // Or the captions that a stage wrote, one entry per reader (null where no sample is kept); then they are
  // read instead of the field.
  std::vector<std::shared_ptr<const ShardCaptions>> written_captions;
  bool scaled_decode = true;  // let JPEG decode at 1/2 or 1/4 where the crop stays larger than image_px
  int threads = 1;
  std::int64_t steps_ahead = 2;
};

class BatchLoader {
 public:
  // readers[i] reads manifest shard i; classes and templates per data set as in captions_of().
  BatchLoader(std::vector<std::shared_ptr<const ShardReader>> readers, std::vector<std::string> shard_sha256,
              std::shared_ptr<const SampleOrder> order, std::vector<std::string> classes,
              std::vector<std::string> caption_templates, LoaderOptions options);
  ~BatchLoader();

  // The next step to deliver; may be called at any time.
  void seek(std::int64_t epoch, std::int64_t step_in_epoch);

  // Own slots of the next step, in slot order; goes on into the next epoch after the last step of one. Blocks
  // for data.
  struct Step {
    std::int64_t epoch = 0, step_in_epoch = 0;
    std::vector<SlotBatch> slots;
    double wait_seconds = 0;                  // time next() waited for data
    double sidecar_seconds = 0;               // processor time that written captions took
    std::map<std::string, std::int64_t> bad;  // bad samples of own slots by reason
  };
  Step next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme::worker::data

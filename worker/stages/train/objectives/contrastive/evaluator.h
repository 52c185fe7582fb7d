// Evaluation while training: the held-back data is embedded over the ranks, in chunks of fixed size that do
// not depend on their number, and scored as the evaluate stage would: retrieval over all captions, or
// zero-shot where the samples are labelled.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/collective/group.h"
#include "worker/embedding/encoder.h"
#include "worker/evaluation/result.h"
#include "worker/models/dual_encoder.h"
#include "worker/stages/train/inputs/data_set.h"
#include "worker/stages/train/step/slot_pool.h"

namespace trireme::worker::stages::train {

class Evaluator {
 public:
  // All must outlive this object. Zero-shot when the first kept sample has a label.
  Evaluator(const DataSet& set, models::DualEncoder& encoder, collective::Group& group, SlotPool& pool,
            std::string device);

  // Collective. The same metrics on every rank. Images that cannot be decoded are left out.
  evaluation::Metrics run();

 private:
  struct Chunk {
    at::Tensor image_nD, text_mD;
    at::Tensor owner_m, label_n;  // owner: row within the chunk
  };
  Chunk embed_chunk(std::size_t first, std::size_t last);
  Chunk gather(const std::vector<Chunk>& own);

  const DataSet& set_;
  models::DualEncoder& encoder_;
  collective::Group& group_;
  SlotPool& pool_;
  std::string device_;
  std::vector<data::SamplePosition> samples_;
  bool labels_ = false;
  embedding::Encoder embed_;
};

}  // namespace trireme::worker::stages::train

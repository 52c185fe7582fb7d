// Stored outputs of frozen towers for one shard: the ranges that embed tasks left (Features in
// jobs/protocol/FORMAT.md), memory-mapped, looked up by sample. Thread-safe after construction. Files of the
// shared space hold no tower's outputs and are left alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::embedding {

class FeatureTable {
 public:
  // Files of ranges of one shard of `samples` samples, in any order. Throws kDamaged naming the file.
  FeatureTable(const std::vector<std::string>& paths, std::int64_t samples);

  bool has_images() const { return image_width_ > 0; }
  bool has_texts() const { return text_width_ > 0; }
  std::int64_t image_width() const { return image_width_; }
  std::int64_t text_width() const { return text_width_; }

  // Rows in the map, valid while the table lives; null when the sample has none.
  const float* image(std::int64_t sample) const;
  const float* text(std::int64_t sample, std::int64_t caption) const;
  std::int64_t captions(std::int64_t sample) const;

 private:
  struct Row {
    const float* image = nullptr;
    const float* text = nullptr;
    std::int64_t captions = 0;
  };
  void read(const std::string& path);

  std::vector<checkpoint::SafetensorsFile> files_;
  std::vector<Row> rows_;
  std::int64_t image_width_ = 0, text_width_ = 0;
};

}  // namespace trireme::worker::embedding

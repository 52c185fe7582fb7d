// What an embed task leaves for one range of samples (Features in jobs/protocol/FORMAT.md): outputs of one or
// both towers. Legend: n samples, m captions, T width.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "common/io/file.h"

namespace trireme::worker::checkpoint {

struct Features {
  std::string space;      // "tower": before the projections; "shared": projected and L2-normalised
  at::Tensor sample;      // int64 [n], positions in the shard, ascending
  at::Tensor image;       // float32 [n, T], undefined when the image tower was not run
  at::Tensor text;        // float32 [m, T'], undefined when the text tower was not run
  at::Tensor text_owner;  // int64 [m], row of `sample`, ascending; defined with text
  at::Tensor label;       // int64 [n], undefined without labels; -1 for a sample that has none
};

void write_features(const io::Path& path, const Features& features);

// Throws kDamaged naming the file when shapes, dtypes or owners do not fit.
Features read_features(const io::Path& path);

// Ranges one after another, owners shifted. A tensor that only some have throws kInvalid, as do different
// spaces or widths; an empty list gives empty Features.
Features concatenate(const std::vector<Features>& parts);

}  // namespace trireme::worker::checkpoint

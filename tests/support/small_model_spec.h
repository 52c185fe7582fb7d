// The smallest pair of towers, for tests that build many.
#pragma once

#include <cstdint>

#include "jobs/specification/model_spec.h"

namespace trireme::testing {

// Four patches of 8 px, one layer of two heads on each side, hashed words, 8 shared numbers.
inline jobs::ModelSpec small_model_spec(std::int64_t width) {
  jobs::ModelSpec spec;
  spec.image.image_px = 16;
  spec.image.patch_px = 8;
  spec.image.width = spec.text.width = width;
  spec.image.layers = spec.text.layers = 1;
  spec.image.heads = spec.text.heads = 2;
  spec.text.context = 8;
  spec.text.tokenizer.buckets = 64;
  spec.embed_dim = 8;
  return spec;
}

}  // namespace trireme::testing

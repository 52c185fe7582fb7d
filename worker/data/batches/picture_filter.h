// How a model's pictures change size, in training as in evaluation.
#pragma once

#include "jobs/specification/image_preprocess.h"
#include "worker/data/images/image.h"

namespace trireme::worker::data {

inline Filter filter_of(const jobs::ImagePreprocess& preprocess) {
  if (preprocess.pillow) return preprocess.bilinear ? Filter::kPillowBilinear : Filter::kPillowBicubic;
  return preprocess.bilinear ? Filter::kBilinear : Filter::kBicubic;
}

}  // namespace trireme::worker::data

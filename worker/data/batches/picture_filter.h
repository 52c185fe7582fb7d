// How a model's pictures change size, in training as in evaluation.
#pragma once

#include "jobs/specification/image_preprocess.h"
#include "worker/data/batches/loader.h"
#include "worker/data/images/image.h"

namespace trireme::worker::data {

inline Filter filter_of(const jobs::ImagePreprocess& preprocess) {
  if (preprocess.pillow) return preprocess.bilinear ? Filter::kPillowBilinear : Filter::kPillowBicubic;
  return preprocess.bilinear ? Filter::kBilinear : Filter::kBicubic;
}

// Size, filter and normalisation of a batch's pictures.
inline void prepare_as(const jobs::ImagePreprocess& preprocess, LoaderOptions& options) {
  options.image_px = preprocess.image_px;
  options.normalization = {preprocess.mean, preprocess.std};
  options.filter = filter_of(preprocess);
}

}  // namespace trireme::worker::data

// What an image tower in evaluation sees of a picture: crop, resize and normalisation, resolved from its
// spec.
#pragma once

#include <array>
#include <cstdint>

#include "jobs/specification/model_spec.h"

namespace trireme::jobs {

struct ImagePreprocess {
  std::int64_t image_px = 224, resize_px = 224;
  bool square = false;   // both sides become resize_px, not the short one alone
  bool longest = false;  // the long side becomes image_px, what is left over on both sides is `fill`
  std::uint8_t fill = 0;
  bool crop_down = false;  // half of an odd rest is rounded down, not half to even
  bool bilinear = false;   // otherwise bicubic; both antialiased
  bool pillow = false;     // with Pillow's weights, otherwise torchvision's
  std::array<float, 3> mean{}, std{};
};

// Throws kInvalid on numbers that cannot be meant. Defaults of the spec are resolved.
ImagePreprocess image_preprocess(const ImageTowerSpec& image);

}  // namespace trireme::jobs

// Colours by their ICC profile to sRGB (Little CMS), as Pillow's ImageCms.profileToProfile with its defaults:
// perceptual intent, 8 bits.
#pragma once

#include <string>
#include <string_view>

#include "worker/data/images/image.h"

namespace trireme::worker::data {

// In place. "", or "bad_profile" when the profile cannot be read or is of another kind than RGB or grey
// pictures have (CMYK).
std::string to_srgb(std::string_view icc, Image& image);

}  // namespace trireme::worker::data

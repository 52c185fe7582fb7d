// Antialiased resize of 8-bit RGB (resample.h: Pillow's algorithm with shorter weights): at most 1 level from
// Pillow's Image.resize(BICUBIC or BILINEAR), tested against its output. One thread per call.
#pragma once

#include <cstdint>

#include "worker/data/images/image.h"

namespace trireme::worker::data {

Image resize_bicubic(const Image& image, std::int64_t width, std::int64_t height);
Image resize_bilinear(const Image& image, std::int64_t width, std::int64_t height);

}  // namespace trireme::worker::data

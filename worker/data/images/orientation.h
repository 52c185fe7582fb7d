// EXIF's orientation: what it says, and pictures turned by it as Pillow's ImageOps.exif_transpose does.
#pragma once

#include <string_view>

#include "worker/data/images/image.h"

namespace trireme::worker::data {

// Tag 0x0112 of the first directory of an EXIF block ("Exif\0\0" before it or not): 1 … 8, 1 for any other
// value, 0 when it has none or is damaged.
int exif_orientation(std::string_view exif);

// tiff:Orientation of an XMP packet, which Pillow asks where EXIF has none; 0 likewise.
int xmp_orientation(std::string_view packet);

// Whether width and height change places.
inline bool turns(int orientation) {
  return orientation >= 5;
}

// The region of a turned picture, in the picture as it is stored (width x height).
DecodeRequest stored_region(const DecodeRequest& turned, int orientation, std::int64_t width,
                            std::int64_t height);

// In place; one of 1 … 8.
void orient(Image& image, int orientation);

}  // namespace trireme::worker::data

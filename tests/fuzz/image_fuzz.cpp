// Any bytes as a picture: header, whole, turned with its colours, and a region. Nothing may crash, leak or
// cost more than RELIABILITY 5 allows. Seeds: the members of tests/golden/worker_data_images.tar and
// worker_data_more_images.tar.
#include <cstdint>
#include <string_view>

#include "worker/data/images/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme::worker::data;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const PictureOptions options{.exif_orientation = true, .icc_to_srgb = true};
  ImageInfo info;
  if (!image_info(bytes, info).empty() || info.width * info.height > 1'000'000) return 0;
  Image image;
  decode_image(bytes, {}, image);
  decode_image(
      bytes, {.x = info.width / 3, .y = info.height / 3, .width = 7, .height = 9, .least_side_px = 2}, image);
  decode_image(bytes, {.x = 1, .y = 1, .width = 5, .height = 4, .options = options}, image);
  decode_image(bytes, {.options = options}, image);
  return 0;
}

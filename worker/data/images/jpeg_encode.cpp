#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>

#include "common/base/error.h"
#include "worker/data/images/image.h"
#include "worker/data/images/resize.h"

namespace trireme::worker::data {
namespace {

struct Writer {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  std::jmp_buf leave{};
  unsigned char* bytes = nullptr;
  unsigned long size = 0;

  ~Writer() {
    jpeg_destroy_compress(&info);
    std::free(bytes);
  }
};

bool write(Writer& writer, const Image& image, int quality) {
  jpeg_compress_struct& info = writer.info;
  info.err = jpeg_std_error(&writer.errors);
  writer.errors.error_exit = [](j_common_ptr common) {
    std::longjmp(static_cast<Writer*>(common->client_data)->leave, 1);
  };
  info.client_data = &writer;
  if (setjmp(writer.leave) != 0) return false;
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &writer.bytes, &writer.size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    auto* row =
        const_cast<JSAMPROW>(image.rgb.data() + std::size_t{info.next_scanline} * info.image_width * 3);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  return true;
}

}  // namespace

std::string encode_jpeg(const Image& image, int quality) {
  Writer writer;
  if (!write(writer, image, quality)) {
    throw Error(ErrorKind::kInternal, "cannot encode a JPEG of " + std::to_string(image.width) + " x " +
                                          std::to_string(image.height) + " px");
  }
  return {reinterpret_cast<const char*>(writer.bytes), writer.size};
}

std::string jpeg_thumbnail(const Image& image, std::int64_t side, int quality) {
  const std::int64_t longest = std::max(image.width, image.height);
  if (longest <= side) return encode_jpeg(image, quality);
  const auto fit = [&](std::int64_t px) {
    return std::max<std::int64_t>(1, (px * side + longest / 2) / longest);
  };
  return encode_jpeg(resize_image(image, fit(image.width), fit(image.height), Filter::kBicubic), quality);
}

}  // namespace trireme::worker::data

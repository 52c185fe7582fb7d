// HEIC by libheif (libde265): the primary picture, turned and cut as its boxes say.
#include <libheif/heif.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "worker/data/images/codec.h"
#include "worker/data/images/decoders/isobmff.h"

namespace trireme::worker::data {
namespace {

using Context = std::unique_ptr<heif_context, void (*)(heif_context*)>;
using Handle = std::unique_ptr<heif_image_handle, void (*)(const heif_image_handle*)>;
using Picture = std::unique_ptr<heif_image, void (*)(const heif_image*)>;
using Options = std::unique_ptr<heif_decoding_options, void (*)(heif_decoding_options*)>;

const char* reason(const heif_error& error, const char* otherwise) {
  switch (error.code) {
    case heif_error_Ok:
      return "";
    case heif_error_Memory_allocation_error:
      return "too_large";
    case heif_error_Unsupported_feature:
    case heif_error_Unsupported_filetype:
      return "unsupported";
    default:
      return error.subcode == heif_suberror_End_of_data               ? "truncated_image"
             : error.subcode == heif_suberror_Security_limit_exceeded ? "too_large"
                                                                      : otherwise;
  }
}

struct Opened {
  Context context{heif_context_alloc(), heif_context_free};
  Handle handle{nullptr, heif_image_handle_release};
  std::int64_t width = 0, height = 0;

  std::string read(std::string_view bytes) {
    heif_context_set_maximum_image_size_limit(context.get(), static_cast<int>(kSideLimitPx));
    heif_context_set_max_decoding_threads(context.get(), 0);
    const char* fault =
        reason(heif_context_read_from_memory_without_copy(context.get(), bytes.data(), bytes.size(), nullptr),
               "bad_header");
    if (*fault != '\0') return fault;
    heif_image_handle* primary = nullptr;
    fault = reason(heif_context_get_primary_image_handle(context.get(), &primary), "bad_header");
    if (*fault != '\0') return fault;
    handle.reset(primary);
    width = heif_image_handle_get_width(primary);
    height = heif_image_handle_get_height(primary);
    const std::int64_t coded =
        std::int64_t{heif_image_handle_get_ispe_width(primary)} * heif_image_handle_get_ispe_height(primary);
    if (std::string large = size_fault(width, height); !large.empty()) return large;
    const bool deep = heif_image_handle_get_luma_bits_per_pixel(primary) > 8;
    return boxed_fault(std::max(coded, width * height) * (deep ? 2 : 1), bytes.size());
  }
};

std::string heic_info(std::string_view bytes, ImageInfo& info) {
  Opened opened;
  const std::string fault = opened.read(bytes);
  if (fault.empty()) info = {opened.width, opened.height, "heic"};
  return fault;
}

std::string decode_heic(std::string_view bytes, const DecodeRequest& request, Image& out) {
  Opened opened;
  if (std::string fault = opened.read(bytes); !fault.empty()) return fault;
  const CpuDeadline deadline;
  const Options options(heif_decoding_options_alloc(), heif_decoding_options_free);
  options->convert_hdr_to_8bit = 1;
  heif_image* decoded = nullptr;
  const char* fault = reason(heif_decode_image(opened.handle.get(), &decoded, heif_colorspace_RGB,
                                               heif_chroma_interleaved_RGB, options.get()),
                             "bad_decode");
  const Picture picture(decoded, heif_image_release);
  if (*fault != '\0') return fault;
  if (deadline.passed()) return "too_slow";
  int stride = 0;
  const std::uint8_t* pixels = heif_image_get_plane_readonly(decoded, heif_channel_interleaved, &stride);
  const std::int64_t width = heif_image_get_width(decoded, heif_channel_interleaved);
  const std::int64_t height = heif_image_get_height(decoded, heif_channel_interleaved);
  if (pixels == nullptr || width != opened.width || height != opened.height || stride < width * 3)
    return "bad_decode";
  const CropBox box = region_of(request, width, height);
  if (box.width == 0) return "unsupported";
  out = {box.width, box.height, {}};
  out.rgb.resize(static_cast<std::size_t>(box.width * box.height * 3));
  for (std::int64_t y = 0; y < box.height; ++y)
    std::memcpy(out.rgb.data() + y * box.width * 3, pixels + (box.y + y) * stride + box.x * 3,
                static_cast<std::size_t>(box.width * 3));
  return "";
}

void heic_metadata(std::string_view bytes, Metadata& found) {
  Opened opened;
  if (!opened.read(bytes).empty()) return;
  found.icc.resize(heif_image_handle_get_raw_color_profile_size(opened.handle.get()));
  const heif_color_profile_type type = heif_image_handle_get_color_profile_type(opened.handle.get());
  const bool icc = type == heif_color_profile_type_rICC || type == heif_color_profile_type_prof;
  if (!icc ||
      heif_image_handle_get_raw_color_profile(opened.handle.get(), found.icc.data()).code != heif_error_Ok)
    found.icc.clear();
}

}  // namespace

const Codec kHeic = {"heic",
                     [](std::string_view bytes) {
                       constexpr std::string_view kBrands[] = {"heic", "heix", "heim", "heis",
                                                               "hevc", "mif1", "msf1"};
                       return std::any_of(std::begin(kBrands), std::end(kBrands),
                                          [&](std::string_view brand) { return has_brand(bytes, brand); });
                     },
                     heic_info, decode_heic, heic_metadata};

}  // namespace trireme::worker::data

#include "worker/data/images/icc_profile.h"

#include <lcms2.h>

#include <memory>
#include <type_traits>

namespace trireme::worker::data {
namespace {

struct Close {
  void operator()(void* profile) const { cmsCloseProfile(profile); }
};
struct Delete {
  void operator()(void* transform) const { cmsDeleteTransform(transform); }
};
struct DeleteContext {
  void operator()(cmsContext context) const { cmsDeleteContext(context); }
};

}  // namespace

std::string to_srgb(std::string_view icc, Image& image) {
  // A context of its own: the library's faults are not printed, and threads share nothing.
  const std::unique_ptr<std::remove_pointer_t<cmsContext>, DeleteContext> context(
      cmsCreateContext(nullptr, nullptr));
  const std::unique_ptr<void, Close> from(
      cmsOpenProfileFromMemTHR(context.get(), icc.data(), static_cast<cmsUInt32Number>(icc.size())));
  if (!from) return "bad_profile";
  const cmsColorSpaceSignature space = cmsGetColorSpace(from.get());
  if (space != cmsSigRgbData && space != cmsSigGrayData) return "bad_profile";
  const bool grey = space == cmsSigGrayData;
  const std::unique_ptr<void, Close> to(cmsCreate_sRGBProfileTHR(context.get()));
  const std::unique_ptr<void, Delete> transform(
      cmsCreateTransformTHR(context.get(), from.get(), grey ? TYPE_GRAY_8 : TYPE_RGB_8, to.get(), TYPE_RGB_8,
                            INTENT_PERCEPTUAL, 0));
  if (!transform) return "bad_profile";
  std::vector<std::uint8_t> row(static_cast<std::size_t>(image.width * 3));
  for (std::int64_t y = 0; y < image.height; ++y) {
    std::uint8_t* pixels = image.rgb.data() + y * image.width * 3;
    for (std::int64_t x = 0; grey && x < image.width * 3; x += 3)
      if (pixels[x] != pixels[x + 1] || pixels[x] != pixels[x + 2])
        return "bad_profile";  // of another picture
    for (std::int64_t x = 0; x < (grey ? image.width : image.width * 3); ++x)
      row[static_cast<std::size_t>(x)] = pixels[grey ? 3 * x : x];
    cmsDoTransform(transform.get(), row.data(), pixels, static_cast<cmsUInt32Number>(image.width));
  }
  return "";
}

}  // namespace trireme::worker::data

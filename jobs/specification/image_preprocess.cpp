#include "jobs/specification/image_preprocess.h"

#include <algorithm>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace trireme::jobs {
namespace {

std::array<float, 3> triple(const std::vector<double>& given, const char* field, bool positive) {
  if (given.size() != 3 || (positive && *std::min_element(given.begin(), given.end()) <= 0))
    throw Error(ErrorKind::kInvalid, std::string("image tower: ") + field + " needs three numbers" +
                                         (positive ? " greater than 0" : ""));
  return {static_cast<float>(given[0]), static_cast<float>(given[1]), static_cast<float>(given[2])};
}

}  // namespace

ImagePreprocess image_preprocess(const ImageTowerSpec& image) {
  ImagePreprocess preprocess;
  preprocess.image_px = image.image_px;
  preprocess.resize_px = *image.resize_px;
  if (preprocess.resize_px < preprocess.image_px)
    throw Error(ErrorKind::kInvalid, "image tower: resize_px is smaller than image_px",
                "set resize_px to at least " + std::to_string(preprocess.image_px));
  preprocess.square = image.resize_mode == ResizeMode::kSquare;
  preprocess.longest = image.resize_mode == ResizeMode::kLongest;
  preprocess.fill = static_cast<std::uint8_t>(image.fill_level.value_or(0));
  if (preprocess.longest && preprocess.resize_px != preprocess.image_px)
    throw Error(ErrorKind::kInvalid,
                "image tower: resize_mode longest has no crop, resize_px is not image_px",
                "leave resize_px out");
  preprocess.crop_down = image.crop_rounding == CropRounding::kDown;
  preprocess.pillow = image.resampling == Resampling::kPillow;
  preprocess.bilinear = image.interpolation == Interpolation::kBilinear;
  preprocess.mean = triple(image.mean, "mean", false);
  preprocess.std = triple(image.std, "std", true);
  return preprocess;
}

}  // namespace trireme::jobs

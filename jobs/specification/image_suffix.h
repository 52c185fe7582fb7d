// The suffixes by which members of a tar and files of a folder are taken for pictures: one table for the
// planner, the shard scan and doctor. What a picture is, its bytes decide (worker/data/images).
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

namespace trireme::jobs {

// Of two pictures of one sample the one named first here is taken.
inline constexpr std::array<std::string_view, 19> kImageSuffixes = {
    "webp", "png",  "jpg", "jpeg", "gif", "bmp", "tif",   "tiff", "avif", "heic",
    "heif", "jfif", "jpe", "jif",  "jfi", "pjp", "pjpeg", "apng", "hif"};
// Pictures that are known by name and not read: "unsupported_image".
inline constexpr std::array<std::string_view, 13> kOtherImageSuffixes = {
    "jp2", "jxl", "psd", "svg", "ppm", "pgm", "pbm", "pnm", "dib", "ico", "tga", "dng", "exr"};

// Position in kImageSuffixes of a lower-case suffix without its dot.
constexpr std::optional<std::size_t> image_suffix_rank(std::string_view suffix) {
  const auto found = std::find(kImageSuffixes.begin(), kImageSuffixes.end(), suffix);
  if (found == kImageSuffixes.end()) return std::nullopt;
  return static_cast<std::size_t>(found - kImageSuffixes.begin());
}
constexpr bool is_image_suffix(std::string_view suffix) {
  return image_suffix_rank(suffix).has_value();
}
constexpr bool is_other_image_suffix(std::string_view suffix) {
  return std::find(kOtherImageSuffixes.begin(), kOtherImageSuffixes.end(), suffix) !=
         kOtherImageSuffixes.end();
}

}  // namespace trireme::jobs

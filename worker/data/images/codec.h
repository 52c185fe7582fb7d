// What the image codecs of this room share; image.h is the face for everybody else.
#pragma once

#include <ctime>
#include <string>
#include <string_view>

#include "worker/data/images/image.h"

namespace trireme::worker::data {

inline constexpr std::int64_t kSideLimitPx = 16'384;
inline constexpr std::int64_t kPixelLimit = std::int64_t{64} << 20;
inline constexpr int kScanLimit = 100;
inline constexpr double kCpuLimitSeconds = 2;
inline constexpr long kDecoderMemoryLimitBytes = 256L << 20;

// "", "bad_header" (a side of 0) or "too_large".
std::string size_fault(std::int64_t width, std::int64_t height);

// The request's region cut to the picture, all of it when its width is 0. Width 0: nothing is left.
CropBox region_of(const DecodeRequest& request, std::int64_t width, std::int64_t height);

// Cuts `image` to the box in place.
void crop_in_place(Image& image, const CropBox& box);

// CPU time of this thread, so that a busy machine does not make a sample bad.
class CpuDeadline {
 public:
  CpuDeadline() : end_(now() + kCpuLimitSeconds) {}
  bool passed() const { return now() > end_; }

 private:
  static double now() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  double end_;
};

// "" when a decoder that needs so much, the finished picture with it, stays below kDecoderMemoryLimitBytes,
// else "too_large".
std::string memory_fault(std::int64_t bytes);

// What stands beside the pixels.
struct Metadata {
  int orientation = 1;  // EXIF's, 1 … 8
  std::string icc;      // the profile, "" when there is none
};

// One format: which bytes it knows by their start, and how to read them. Each function: "" or a reason of
// image.h; metadata that cannot be read is as if absent.
struct Codec {
  const char* name;  // ImageInfo::format
  bool (*starts)(std::string_view bytes);
  std::string (*info)(std::string_view bytes, ImageInfo& info);
  std::string (*decode)(std::string_view bytes, const DecodeRequest& request, Image& out);
  void (*metadata)(std::string_view bytes, Metadata& found);  // may be null
};
extern const Codec kJpeg, kPng, kWebp, kGif, kBmp, kTiff, kAvif, kHeic;

}  // namespace trireme::worker::data

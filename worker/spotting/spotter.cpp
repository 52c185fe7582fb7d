#include "worker/spotting/spotter.h"

#include <tesseract/baseapi.h>
#include <tesseract/resultiterator.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "common/base/error.h"

namespace trireme::worker::spotting {
namespace {

constexpr double kLetterPx = 26;     // what Tesseract's LSTM reads best
constexpr double kHalfHeight = 1.1;  // of the strip, in letter heights from the middle
constexpr double kMargin = 1.0;      // beyond the ends of the line
constexpr int kBorderPx = 8;
constexpr double kMostPixels = 4e6;
constexpr double kBlur =
    0.05;  // in letter heights: joins the dots of pixel faces, takes the grain of a ground

// libgomp, which Tesseract asks for four threads a strip: with no active level it gives one. OMP_THREAD_LIMIT
// would do so for torch, too.
extern "C" void omp_set_max_active_levels(int levels);
extern "C" int omp_get_max_active_levels(void);

class OneThread {
 public:
  OneThread() : levels_(omp_get_max_active_levels()) { omp_set_max_active_levels(0); }
  ~OneThread() { omp_set_max_active_levels(levels_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int levels_;
};

// Bilinear; beyond the border the nearest pixel.
double at(const Plane& plane, double x, double y) {
  x = std::clamp(x, 0.0, static_cast<double>(plane.width - 1));
  y = std::clamp(y, 0.0, static_cast<double>(plane.height - 1));
  const auto left = static_cast<std::int64_t>(x), top = static_cast<std::int64_t>(y);
  const std::int64_t right = std::min(left + 1, plane.width - 1),
                     bottom = std::min(top + 1, plane.height - 1);
  const double fx = x - static_cast<double>(left), fy = y - static_cast<double>(top);
  const auto value = [&](std::int64_t px, std::int64_t py) {
    return static_cast<double>(plane.luma[static_cast<std::size_t>(py * plane.width + px)]);
  };
  return (value(left, top) * (1 - fx) + value(right, top) * fx) * (1 - fy) +
         (value(left, bottom) * (1 - fx) + value(right, bottom) * fx) * fy;
}

// Gaussian along rows, then along columns.
void blur(Plane& strip, double sigma) {
  const int radius = static_cast<int>(2 * sigma + 1);
  std::vector<double> weights;
  double sum = 0;
  for (int i = -radius; i <= radius; ++i) sum += weights.emplace_back(std::exp(-i * i / (2 * sigma * sigma)));
  for (const bool along_x : {true, false}) {
    const Plane from = strip;
    for (std::int64_t y = 0; y < strip.height; ++y)
      for (std::int64_t x = 0; x < strip.width; ++x) {
        double value = 0;
        for (int i = -radius; i <= radius; ++i) {
          const std::int64_t px = along_x ? std::clamp<std::int64_t>(x + i, 0, strip.width - 1) : x,
                             py = along_x ? y : std::clamp<std::int64_t>(y + i, 0, strip.height - 1);
          value += weights[static_cast<std::size_t>(static_cast<std::ptrdiff_t>(i) + radius)] *
                   from.luma[static_cast<std::size_t>(py * strip.width + px)];
        }
        strip.luma[static_cast<std::size_t>(y * strip.width + x)] =
            static_cast<std::uint8_t>(std::lround(value / sum));
      }
  }
}

// Ink and ground of the middle rows become black and white, and half-way between them is white already: what
// is left of the ground's texture is faint.
void stretch_levels(Plane& strip) {
  std::array<std::int64_t, 256> histogram{};
  std::int64_t pixels = 0;
  for (std::int64_t y = strip.height / 3; y < strip.height * 2 / 3; ++y)
    for (std::int64_t x = 0; x < strip.width; ++x, ++pixels)
      ++histogram[strip.luma[static_cast<std::size_t>(y * strip.width + x)]];
  const auto level = [&](double share) {
    std::int64_t left = static_cast<std::int64_t>(share * static_cast<double>(pixels));
    int value = 0;
    while (value < 255 && (left -= histogram[static_cast<std::size_t>(value)]) >= 0) ++value;
    return value;
  };
  const double ink = level(0.06), ground = std::max(level(0.6), static_cast<int>(ink) + 16);
  for (std::uint8_t& value : strip.luma)
    value = static_cast<std::uint8_t>(std::clamp(255 * (value - ink) / (0.62 * (ground - ink)), 0.0, 255.0));
}

// Letters of the lines above and below reach into the strip: what is dark and touches its upper or lower
// border goes.
void drop_neighbours(Plane& strip) {
  constexpr std::uint8_t kDark = 200;
  std::vector<std::size_t> open;
  const auto width = static_cast<std::size_t>(strip.width), height = static_cast<std::size_t>(strip.height);
  const auto take = [&](std::size_t pixel) {
    if (strip.luma[pixel] >= kDark) return;
    strip.luma[pixel] = 255;
    open.push_back(pixel);
  };
  for (std::size_t x = 0; x < width; ++x) {
    take(x);
    take((height - 1) * width + x);
  }
  while (!open.empty()) {
    const std::size_t pixel = open.back(), x = pixel % width, y = pixel / width;
    open.pop_back();
    if (x > 0) take(pixel - 1);
    if (x + 1 < width) take(pixel + 1);
    if (y > 0) take(pixel - width);
    if (y + 1 < height) take(pixel + width);
  }
}

}  // namespace

Plane upright_line(const Plane& plane, const TextLine& line, double scale, double letter_px) {
  double shrunk = 1;  // large letters: from a smaller plane, so that bilinear does not skip pixels
  Plane smaller;
  const Plane* from = &plane;
  while (line.letter_height * scale / shrunk > 2 * letter_px && std::min(from->width, from->height) >= 32) {
    smaller = halved(*from);
    from = &smaller;
    shrunk *= 2;
  }
  const double to_plane = scale / shrunk, height = line.letter_height * to_plane;
  const double left_x = line.left_x * to_plane, left_y = line.left_y * to_plane;
  const double along_x = line.right_x * to_plane - left_x, along_y = line.right_y * to_plane - left_y;
  const double length = std::max(1.0, std::hypot(along_x, along_y));
  const double ux = along_x / length, uy = along_y / length;  // along the line; (-uy, ux) points down
  const double step = height / letter_px;                     // plane px per px of the strip
  Plane strip;
  strip.width = static_cast<std::int64_t>((length + 2 * kMargin * height) / step) + 2 * kBorderPx;
  strip.height = static_cast<std::int64_t>(2 * kHalfHeight * letter_px) + 2 * kBorderPx;
  if (static_cast<double>(strip.width * strip.height) > kMostPixels) return {};
  strip.luma.resize(static_cast<std::size_t>(strip.width * strip.height));
  for (std::int64_t y = 0; y < strip.height; ++y)
    for (std::int64_t x = 0; x < strip.width; ++x) {
      const double a = (static_cast<double>(x) - kBorderPx) * step - kMargin * height;
      const double d = (static_cast<double>(y) - 0.5 * static_cast<double>(strip.height)) * step;
      const double value = at(*from, left_x + a * ux - d * uy, left_y + a * uy + d * ux);
      strip.luma[static_cast<std::size_t>(y * strip.width + x)] =
          static_cast<std::uint8_t>(std::lround(line.light ? 255 - value : value));
    }
  blur(strip, kBlur * letter_px);
  stretch_levels(strip);
  drop_neighbours(strip);
  return strip;
}

struct Spotter::State {
  tesseract::TessBaseAPI api;
};

Spotter::Spotter(const std::string& data_folder) : state_(std::make_unique<State>()) {
  if (state_->api.Init(data_folder.empty() ? nullptr : data_folder.c_str(), "eng",
                       tesseract::OEM_LSTM_ONLY) != 0)
    throw Error(ErrorKind::kNotFound, "Tesseract's English language data (eng.traineddata) are not installed",
                "install tesseract-ocr-eng, or set TESSDATA_PREFIX to the folder that holds them");
  state_->api.SetPageSegMode(tesseract::PSM_SINGLE_LINE);
  state_->api.SetVariable("debug_file", "/dev/null");
  state_->api.SetVariable("tessedit_do_invert", "0");  // strips are dark on light already
}

Spotter::~Spotter() = default;

std::vector<SpottedText> Spotter::read(const Plane& plane, const std::vector<TextLine>& lines, double scale,
                                       double least_confidence, int most_lines) {
  const OneThread alone;
  std::vector<SpottedText> found;
  for (std::size_t i = 0; i < lines.size() && i < static_cast<std::size_t>(most_lines); ++i) {
    const Plane strip = upright_line(plane, lines[i], scale, kLetterPx);
    if (strip.luma.empty()) continue;
    tesseract::TessBaseAPI& api = state_->api;
    api.SetImage(strip.luma.data(), static_cast<int>(strip.width), static_cast<int>(strip.height), 1,
                 static_cast<int>(strip.width));
    api.SetSourceResolution(200);
    if (api.Recognize(nullptr) != 0) continue;
    SpottedText line;
    double letters = 0;
    const std::unique_ptr<tesseract::ResultIterator> words(api.GetIterator());
    if (!words) continue;
    do {
      const std::unique_ptr<const char[]> word(words->GetUTF8Text(tesseract::RIL_WORD));
      const double confidence = words->Confidence(tesseract::RIL_WORD) / 100.0;
      if (!word || word[0] == '\0' || confidence < least_confidence) continue;
      const std::string text = word.get();
      line.text += (line.text.empty() ? "" : " ") + text;
      line.confidence += confidence * static_cast<double>(text.size());
      letters += static_cast<double>(text.size());
    } while (words->Next(tesseract::RIL_WORD));
    if (letters == 0) continue;
    line.confidence /= letters;
    found.push_back(std::move(line));
  }
  return found;
}

}  // namespace trireme::worker::spotting

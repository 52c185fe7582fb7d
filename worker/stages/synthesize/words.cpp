// draw_words of render.h.
#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "worker/stages/synthesize/render.h"

namespace trireme::worker::stages::synthesize {
namespace {
// A to Z, five columns each, lowest bit at the top.
constexpr std::uint8_t kFace[26][5] = {
    {0x7E, 0x11, 0x11, 0x11, 0x7E}, {0x7F, 0x49, 0x49, 0x49, 0x36}, {0x3E, 0x41, 0x41, 0x41, 0x22},
    {0x7F, 0x41, 0x41, 0x22, 0x1C}, {0x7F, 0x49, 0x49, 0x49, 0x41}, {0x7F, 0x09, 0x09, 0x09, 0x01},
    {0x3E, 0x41, 0x49, 0x49, 0x7A}, {0x7F, 0x08, 0x08, 0x08, 0x7F}, {0x00, 0x41, 0x7F, 0x41, 0x00},
    {0x20, 0x40, 0x41, 0x3F, 0x01}, {0x7F, 0x08, 0x14, 0x22, 0x41}, {0x7F, 0x40, 0x40, 0x40, 0x40},
    {0x7F, 0x02, 0x0C, 0x02, 0x7F}, {0x7F, 0x04, 0x08, 0x10, 0x7F}, {0x3E, 0x41, 0x41, 0x41, 0x3E},
    {0x7F, 0x09, 0x09, 0x09, 0x06}, {0x3E, 0x41, 0x51, 0x21, 0x5E}, {0x7F, 0x09, 0x19, 0x29, 0x46},
    {0x46, 0x49, 0x49, 0x49, 0x31}, {0x01, 0x01, 0x7F, 0x01, 0x01}, {0x3F, 0x40, 0x40, 0x40, 0x3F},
    {0x1F, 0x20, 0x40, 0x20, 0x1F}, {0x3F, 0x40, 0x38, 0x40, 0x3F}, {0x63, 0x14, 0x08, 0x14, 0x63},
    {0x07, 0x08, 0x70, 0x08, 0x07}, {0x61, 0x51, 0x49, 0x45, 0x43}};
constexpr int kAdvance = 6, kLine = 9, kWidest = 14, kSamples = 3;

std::vector<std::string> wrapped(const std::string& words) {
  std::vector<std::string> lines(1);
  std::string word;
  for (const char c : words + " ") {
    if (c != ' ') {
      if (std::isalpha(static_cast<unsigned char>(c)) != 0) word += static_cast<char>(std::toupper(c));
      continue;
    }
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > kWidest) lines.emplace_back();
    if (!lines.back().empty() && !word.empty()) lines.back() += ' ';
    lines.back() += word;
    word.clear();
  }
  return lines;
}

// Whether the face has ink at (x, y), in dots of the text's own frame.
bool inked(const std::vector<std::string>& lines, double x, double y) {
  if (x < 0 || y < 0) return false;
  const auto row = static_cast<std::size_t>(y) / kLine, column = static_cast<std::size_t>(x) / kAdvance;
  const auto dot_y = static_cast<std::size_t>(y) % kLine, dot_x = static_cast<std::size_t>(x) % kAdvance;
  if (row >= lines.size() || column >= lines[row].size() || dot_y >= 7 || dot_x >= 5 ||
      lines[row][column] == ' ')
    return false;
  return (kFace[lines[row][column] - 'A'][dot_x] >> dot_y & 1) != 0;
}
}  // namespace

void draw_words(data::Image& image, const std::string& words, RandomStream& random) {
  const auto lines = wrapped(words);
  const double width = static_cast<double>(image.width);
  const double dot = width * random.uniform(0.65, 0.95) / (kAdvance * kWidest);
  const double angle = random.uniform(-0.25, 0.25), cosine = std::cos(angle), sine = std::sin(angle);
  const bool dark = random.below(2) == 0;
  const std::array<double, 3> ink{dark ? 10.0 : 250.0, dark ? 10.0 : 250.0,
                                  random.below(2) == 0 ? 10.0 : 250.0};
  const double middle_x = kAdvance * kWidest / 2.0,
               middle_y = kLine * static_cast<double>(lines.size()) / 2.0;
  const double centre_y = static_cast<double>(image.height) * random.uniform(0.35, 0.65);
  for (std::int64_t y = 0; y < image.height; ++y)
    for (std::int64_t x = 0; x < image.width; ++x) {
      int hits = 0;
      for (int sample = 0; sample < kSamples * kSamples; ++sample) {
        const int column = sample % kSamples, row = sample / kSamples;
        const double px = (static_cast<double>(x) + (column + 0.5) / kSamples - width / 2) / dot;
        const double py = (static_cast<double>(y) + (row + 0.5) / kSamples - centre_y) / dot;
        hits += inked(lines, px * cosine + py * sine + middle_x, py * cosine - px * sine + middle_y) ? 1 : 0;
      }
      const double share = hits / double{kSamples * kSamples};
      for (std::size_t c = 0; c < 3 && hits > 0; ++c) {
        auto& value = image.rgb[static_cast<std::size_t>(3 * (y * image.width + x)) + c];
        value = static_cast<std::uint8_t>(std::lround(value + share * (ink[c] - value)));
      }
    }
}

}  // namespace trireme::worker::stages::synthesize

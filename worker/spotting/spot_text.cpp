#include "worker/spotting/spot_text.h"

#include <algorithm>
#include <array>

namespace trireme::worker::spotting {
namespace {

constexpr std::size_t kMostLines = 12;

int luma(const std::uint8_t* rgb) {
  return (77 * rgb[0] + 150 * rgb[1] + 29 * rgb[2] + 128) >> 8;
}

template <class Value>
Plane plane_of(const std::uint8_t* rgb, std::int64_t width, std::int64_t height, const Value& value) {
  Plane plane{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width * height))};
  for (std::size_t i = 0; i < plane.luma.size(); ++i)
    plane.luma[i] = static_cast<std::uint8_t>(std::clamp(value(rgb + 3 * i), 0, 255));
  return plane;
}

}  // namespace

Plane luma_of(const std::uint8_t* rgb, std::int64_t width, std::int64_t height) {
  return plane_of(rgb, width, height, luma);
}

Plane blueness_of(const std::uint8_t* rgb, std::int64_t width, std::int64_t height) {
  return plane_of(rgb, width, height,
                  [](const std::uint8_t* pixel) { return 128 + (pixel[2] - luma(pixel)) * 2 / 3; });
}

bool may_have_text(const std::uint8_t* rgb, std::int64_t width, std::int64_t height, bool whole) {
  const auto has_line = [&](Plane plane) {
    if (whole) plane = halved(plane);
    return !find_text_lines(plane, kMayBeText).empty();
  };
  return has_line(luma_of(rgb, width, height)) || has_line(blueness_of(rgb, width, height));
}

std::vector<SpottedText> spot_text(const std::uint8_t* rgb, std::int64_t width, std::int64_t height,
                                   Spotter& spotter, double least_confidence) {
  const std::array planes{luma_of(rgb, width, height), blueness_of(rgb, width, height)};
  std::vector<std::pair<TextLine, const Plane*>> lines;
  for (const Plane& plane : planes)
    for (const TextLine& line : find_text_lines(plane)) lines.emplace_back(line, &plane);
  std::ranges::stable_sort(lines, std::greater<>{}, [](const auto& line) { return line.first.score; });
  if (lines.size() > kMostLines) lines.resize(kMostLines);
  std::vector<SpottedText> found;
  for (const auto& [line, plane] : lines)
    for (auto& text : spotter.read(*plane, {line}, 1, least_confidence)) found.push_back(std::move(text));
  return found;
}

}  // namespace trireme::worker::spotting

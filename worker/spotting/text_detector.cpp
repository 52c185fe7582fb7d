#include "worker/spotting/text_detector.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "worker/spotting/components.h"

namespace trireme::worker::spotting {
namespace {

constexpr int kRadius = 7, kThreshold = 26;        // of the window for means, of a pixel to its mean
constexpr int kLeastHeight = 6, kMostHeight = 30;  // of letters, per level
constexpr int kLevels = 3;
constexpr double kWidest = 2.4, kNarrowest = 0.07;  // width / height; letters may touch
constexpr double kMostStroke = 0.62, kLeastFill = 0.12;
constexpr double kGap = 1.15, kOverlap = 0.35;  // between neighbours, in letter heights
constexpr double kMostRatio = 1.9;              // of their heights
constexpr double kSteepest = 0.62;              // of a line
constexpr std::size_t kLeastLetters = 3, kMostComponents = 4000;

// In the order of features_of().
constexpr std::array kWeights{4.624,  -7.698, 0.938,  -3.986, -8.938, -1.626, 5.027,
                              -2.111, 1.347,  -5.786, -0.269, 3.912,  -1.683};
constexpr double kBias = -19.713;

using Line = std::vector<const Component*>;
using Features = std::array<double, kWeights.size()>;

double middle_x(const Component& c) {
  return 0.5 * (c.left + c.right);
}
double middle_y(const Component& c) {
  return 0.5 * (c.top + c.bottom);
}

bool letter_like(const Component& c) {
  if (c.height() < kLeastHeight || c.height() > kMostHeight) return false;
  const double height = c.height(), width = c.width();
  return width <= kWidest * height && width >= kNarrowest * height && c.area >= kLeastFill * width * height &&
         c.stroke() < kMostStroke * height;
}

bool neighbours(const Component& a, const Component& b) {
  const double taller = std::max(a.height(), b.height()), lower = std::min(a.height(), b.height());
  const double gap = b.left - a.right, along = middle_x(b) - middle_x(a);
  if (taller > kMostRatio * lower || gap > kGap * taller || gap < -kOverlap * lower || along < 0.15 * lower)
    return false;
  const double rise = std::min({std::abs(middle_y(b) - middle_y(a)), std::abs(1.0 * b.bottom - a.bottom),
                                std::abs(1.0 * b.top - a.top)});
  if (rise > 0.6 * taller || (rise > 0.25 * taller && rise > kSteepest * along)) return false;
  return std::max(a.contrast, b.contrast) < 2.2 * std::min(a.contrast, b.contrast);
}

// Deviation / mean.
double unevenness(const Line& line, const std::function<double(const Component&)>& value) {
  double sum = 0, squares = 0;
  for (const auto* c : line) {
    sum += value(*c);
    squares += value(*c) * value(*c);
  }
  const double n = static_cast<double>(line.size()), mean = sum / n;
  return std::sqrt(std::max(0.0, squares / n - mean * mean)) / mean;
}

struct Fit {
  double slope = 0, at_zero = 0, away = 0;  // least squares over the middles' x; away: root mean square
};
Fit fit(const Line& line, const std::function<double(const Component&)>& value) {
  double sx = 0, sy = 0, sxx = 0, sxy = 0;
  const double n = static_cast<double>(line.size());
  for (const auto* c : line) {
    const double x = middle_x(*c), y = value(*c);
    sx += x;
    sy += y;
    sxx += x * x;
    sxy += x * y;
  }
  const double spread = std::max(1e-9, sxx - sx * sx / n);
  Fit made{(sxy - sx * sy / n) / spread, 0, 0};
  made.at_zero = (sy - made.slope * sx) / n;
  for (const auto* c : line) {
    const double d = value(*c) - made.at_zero - made.slope * middle_x(*c);
    made.away += d * d / n;
  }
  made.away = std::sqrt(made.away);
  return made;
}

double median_height(const Line& line) {
  std::vector<int> heights;
  for (const auto* c : line) heights.push_back(c->height());
  std::ranges::nth_element(heights, heights.begin() + static_cast<std::ptrdiff_t>(heights.size() / 2));
  return heights[heights.size() / 2];
}

Features features_of(const Line& line, double height) {
  const double n = static_cast<double>(line.size());
  double gaps = 0, gap_squares = 0, contrast = 0, fill = 0, width = 0, stroke = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const Component& c = *line[i];
    if (i > 0) {
      const double gap = (c.left - line[i - 1]->right) / height;
      gaps += gap;
      gap_squares += gap * gap;
    }
    contrast += c.contrast / n;
    fill += c.area / (n * c.width() * c.height());
    width += c.width() / (n * height);
    stroke += c.stroke() / (n * height);
  }
  const double gap = gaps / (n - 1), gap_spread = std::sqrt(std::max(0.0, gap_squares / (n - 1) - gap * gap));
  const double tops = fit(line, [](const Component& c) { return 1.0 * c.top; }).away / height;
  const double bottoms = fit(line, [](const Component& c) { return 1.0 * c.bottom; }).away / height;
  return {std::log(n),
          unevenness(line, [](const Component& c) { return 1.0 * c.height(); }),
          unevenness(line, [](const Component& c) { return c.stroke(); }),
          unevenness(line, [](const Component& c) { return 1.0 * c.contrast; }),
          std::min(tops, bottoms),
          std::max(tops, bottoms),
          std::log(contrast),
          std::abs(gap - 0.2),
          gap_spread,
          fill,
          std::abs(width - 0.7),
          stroke,
          std::log(height)};
}

// Chains from left to right: every letter goes on with its nearest neighbour that nobody else has.
std::vector<Line> chains(const std::vector<Component>& letters) {
  std::vector<int> next(letters.size(), -1);
  std::vector<bool> taken(letters.size());
  for (std::size_t i = 0; i < letters.size(); ++i) {
    double nearest = 1e9;
    for (std::size_t j = i + 1; j < letters.size(); ++j) {
      if (letters[j].left - letters[i].right > kGap * kMostHeight) break;
      if (taken[j] || !neighbours(letters[i], letters[j])) continue;
      const double distance = std::hypot(middle_x(letters[j]) - middle_x(letters[i]),
                                         2 * (middle_y(letters[j]) - middle_y(letters[i])));
      if (distance >= nearest) continue;
      nearest = distance;
      next[i] = static_cast<int>(j);
    }
    if (next[i] >= 0) taken[static_cast<std::size_t>(next[i])] = true;
  }
  std::vector<Line> found;
  for (std::size_t i = 0; i < letters.size(); ++i) {
    if (taken[i]) continue;
    Line line;
    for (int at = static_cast<int>(i); at >= 0; at = next[static_cast<std::size_t>(at)])
      line.push_back(&letters[static_cast<std::size_t>(at)]);
    if (line.size() >= kLeastLetters) found.push_back(std::move(line));
  }
  return found;
}

using Visit = std::function<void(const Line&, double height, bool light, double scale)>;

void for_each_line(const Plane& plane, const Visit& visit) {
  Plane smaller;
  const Plane* level = &plane;
  double scale = 1;
  for (int i = 0; i < kLevels && std::min(level->width, level->height) >= 16; ++i, scale *= 2) {
    Components components = find_components(*level, kRadius, kThreshold);
    for (const bool light : {false, true}) {
      auto& letters = light ? components.light : components.dark;
      std::erase_if(letters, [](const Component& c) { return !letter_like(c); });
      std::ranges::sort(letters, {}, [](const Component& c) { return std::pair(c.left, c.top); });
      if (letters.size() > kMostComponents) continue;  // grain: no writing looks so, and chains are quadratic
      for (const Line& line : chains(letters)) visit(line, median_height(line), light, scale);
    }
    smaller = halved(*level);
    level = &smaller;
  }
}

}  // namespace

std::vector<TextLine> find_text_lines(const Plane& plane, double least_score) {
  std::vector<TextLine> found;
  for_each_line(plane, [&](const Line& line, double height, bool light, double scale) {
    const Features features = features_of(line, height);
    double score = kBias;
    for (std::size_t i = 0; i < features.size(); ++i) score += kWeights[i] * features[i];
    const Fit middle = fit(line, middle_y);
    if (score < least_score || std::abs(middle.slope) > kSteepest) return;
    const double left = line.front()->left, right = line.back()->right;
    found.push_back({scale * left, scale * (middle.at_zero + middle.slope * left), scale * right,
                     scale * (middle.at_zero + middle.slope * right), scale * height,
                     static_cast<int>(line.size()), light, score});
  });
  std::ranges::stable_sort(found, std::greater<>{}, &TextLine::score);
  return found;
}

Plane halved(const Plane& plane) {
  Plane half{plane.width / 2, plane.height / 2, {}};
  half.luma.resize(static_cast<std::size_t>(half.width * half.height));
  for (std::int64_t y = 0; y < half.height; ++y) {
    const std::uint8_t* const row = plane.luma.data() + 2 * y * plane.width;
    const std::uint8_t* const below = row + plane.width;
    std::uint8_t* const out = half.luma.data() + y * half.width;
    for (std::int64_t x = 0; x < half.width; ++x)
      out[x] =
          static_cast<std::uint8_t>((row[2 * x] + row[2 * x + 1] + below[2 * x] + below[2 * x + 1] + 2) / 4);
  }
  return half;
}

}  // namespace trireme::worker::spotting

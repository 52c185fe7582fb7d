#include "worker/stages/synthesize/render.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace trireme::worker::stages::synthesize {
namespace {
constexpr double kPi = std::numbers::pi;
struct Point {
  double x, y;
};

std::vector<Point> regular(int corners, double turn, double inner = 1) {
  std::vector<Point> points;
  const int count = inner == 1 ? corners : 2 * corners;
  for (int i = 0; i < count; ++i) {
    const double angle = turn + 2 * kPi * i / count, radius = inner != 1 && i % 2 == 1 ? inner : 1;
    points.push_back({radius * std::cos(angle), radius * std::sin(angle)});
  }
  return points;
}

std::vector<Point> heart() {
  std::vector<Point> points;
  for (int i = 0; i < 28; ++i) {
    const double t = 2 * kPi * i / 28;
    points.push_back(
        {16 * std::pow(std::sin(t), 3) / 17,
         -(13 * std::cos(t) - 5 * std::cos(2 * t) - 2 * std::cos(3 * t) - std::cos(4 * t)) / 17});
  }
  return points;
}

std::vector<Point> outline(Shape shape) {
  constexpr double kArm = 0.3, kEnd = 0.95;
  switch (shape) {
    case Shape::kSquare:
      return regular(4, kPi / 4);
    case Shape::kTriangle:
      return regular(3, -kPi / 2);
    case Shape::kStar:
      return regular(5, -kPi / 2, 0.42);
    case Shape::kDiamond:
      return {{0, -1}, {0.6, 0}, {0, 1}, {-0.6, 0}};
    case Shape::kHexagon:
      return regular(6, 0);
    case Shape::kHeart:
      return heart();
    case Shape::kCross:
      return {{-kArm, -kEnd}, {kArm, -kEnd}, {kArm, -kArm}, {kEnd, -kArm}, {kEnd, kArm},   {kArm, kArm},
              {kArm, kEnd},   {-kArm, kEnd}, {-kArm, kArm}, {-kEnd, kArm}, {-kEnd, -kArm}, {-kArm, -kArm}};
    default:
      return {};
  }
}

// Signed distance to a polygon, negative inside.
double distance(const std::vector<Point>& polygon, double x, double y) {
  double nearest = 1e9;
  bool inside = false;
  for (std::size_t i = 0, j = polygon.size() - 1; i < polygon.size(); j = i++) {
    const Point &a = polygon[i], &b = polygon[j];
    const double ex = b.x - a.x, ey = b.y - a.y, px = x - a.x, py = y - a.y;
    const double along = std::clamp((px * ex + py * ey) / (ex * ex + ey * ey), 0.0, 1.0);
    const double dx = px - along * ex, dy = py - along * ey;
    nearest = std::min(nearest, dx * dx + dy * dy);
    if ((a.y > y) != (b.y > y) && x < ex * (y - a.y) / ey + a.x) inside = !inside;
  }
  return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
}

double distance(Shape shape, const std::vector<Point>& polygon, double x, double y) {
  const double radius = std::hypot(x, y);
  switch (shape) {
    case Shape::kCircle:
      return radius - 1;
    case Shape::kRing:
      return std::max(radius - 1, 0.6 - radius);
    case Shape::kCrescent:
      return std::max(radius - 1, 0.85 - std::hypot(x - 0.5, y));
    default:
      return distance(polygon, x, y);
  }
}

void blend(std::uint8_t* pixel, const Colour& ink, double share) {
  const std::array<int, 3> rgb{ink.red, ink.green, ink.blue};
  for (std::size_t c = 0; c < 3; ++c)
    pixel[c] = static_cast<std::uint8_t>(std::lround(pixel[c] + share * (rgb[c] - pixel[c])));
}

void draw_object(data::Image& image, const Object& object) {
  const double side = static_cast<double>(image.width), radius = object.radius * side;
  const double cx = object.x * side, cy = object.y * side;
  const double cosine = std::cos(object.angle), sine = std::sin(object.angle);
  const auto polygon = outline(object.shape);
  const auto bound = [&](double value) {
    return std::clamp<std::int64_t>(std::llround(value), 0, image.width);
  };
  for (std::int64_t y = bound(cy - radius - 2); y < bound(cy + radius + 2); ++y)
    for (std::int64_t x = bound(cx - radius - 2); x < bound(cx + radius + 2); ++x) {
      const double px = (static_cast<double>(x) + 0.5 - cx) / radius,
                   py = (static_cast<double>(y) + 0.5 - cy) / radius;
      const double edge =
          radius * distance(object.shape, polygon, px * cosine + py * sine, py * cosine - px * sine);
      const double cover = std::clamp(0.5 - edge, 0.0, 1.0);
      if (cover > 0)
        blend(&image.rgb[static_cast<std::size_t>(3 * (y * image.width + x))], colour(object.colour), cover);
    }
}

// Grain in [-1, 1], a hash of the place.
double grain(std::uint64_t texture, std::int64_t x, std::int64_t y) {
  std::uint64_t h = texture + static_cast<std::uint64_t>(x) * 0x9E3779B97F4A7C15U +
                    static_cast<std::uint64_t>(y) * 0xC2B2AE3D27D4EB4FU;
  h = (h ^ (h >> 31)) * 0xBF58476D1CE4E5B9U;
  h = (h ^ (h >> 29)) * 0x94D049BB133111EBU;
  return static_cast<double>(h >> 40) / double{1 << 23} - 1;
}

std::array<double, 3> natural(Ground ground, double depth, double noise) {
  switch (ground) {
    case Ground::kSky:
      return {110 + 90 * depth, 170 + 50 * depth, 240 + 10 * depth};
    case Ground::kGrass:
      return {75 + 25 * noise, 160 - 30 * depth + 35 * noise, 55 + 20 * noise};
    case Ground::kSnow:
      return {236 + 12 * noise, 240 + 10 * noise, 248 + 6 * noise};
    default:
      return {222 + 22 * noise, 196 + 22 * noise, 142 + 20 * noise};
  }
}

void draw_background(data::Image& image, const Background& background, std::uint64_t texture) {
  const Colour &first = colour(background.first), &second = colour(background.second);
  const double side = static_cast<double>(image.height), stripe = side / 8;
  for (std::int64_t y = 0; y < image.height; ++y) {
    const double depth = static_cast<double>(y) / side;
    for (std::int64_t x = 0; x < image.width; ++x) {
      std::uint8_t* pixel = &image.rgb[static_cast<std::size_t>(3 * (y * image.width + x))];
      if (background.ground >= Ground::kSky) {
        const auto rgb =
            natural(background.ground, depth, background.ground == Ground::kSky ? 0 : grain(texture, x, y));
        for (std::size_t c = 0; c < 3; ++c)
          pixel[c] = static_cast<std::uint8_t>(std::clamp(rgb[c], 0.0, 255.0));
        continue;
      }
      blend(pixel, first, 1);
      if (background.ground == Ground::kGradient) blend(pixel, second, depth);
      if (background.ground == Ground::kStripes &&
          std::fmod(static_cast<double>(x + y), 2 * stripe) >= stripe)
        blend(pixel, second, 1);
    }
  }
}
}  // namespace

data::Image render(const Scene& scene, std::int64_t side, std::uint64_t texture) {
  data::Image image{side, side, std::vector<std::uint8_t>(static_cast<std::size_t>(3 * side * side))};
  draw_background(image, scene.background, texture);
  // Of two, the second is drawn first, so that what is inside or on it lies over it.
  for (auto object = scene.objects.rbegin(); object != scene.objects.rend(); ++object)
    draw_object(image, *object);
  return image;
}

data::Image stretch(const data::Image& image, std::int64_t width, std::int64_t height) {
  data::Image out{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(3 * width * height))};
  const auto at = [](std::int64_t i, std::int64_t from, std::int64_t to) {
    return std::clamp(
        (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5, 0.0,
        static_cast<double>(from - 1));
  };
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x) {
      const double sx = at(x, image.width, width), sy = at(y, image.height, height);
      const auto x0 = static_cast<std::int64_t>(sx), y0 = static_cast<std::int64_t>(sy);
      const std::int64_t x1 = std::min(x0 + 1, image.width - 1), y1 = std::min(y0 + 1, image.height - 1);
      const double fx = sx - static_cast<double>(x0), fy = sy - static_cast<double>(y0);
      for (std::int64_t c = 0; c < 3; ++c) {
        const auto pixel = [&](std::int64_t px, std::int64_t py) {
          return static_cast<double>(image.rgb[static_cast<std::size_t>(3 * (py * image.width + px) + c)]);
        };
        const double top = pixel(x0, y0) * (1 - fx) + pixel(x1, y0) * fx;
        const double bottom = pixel(x0, y1) * (1 - fx) + pixel(x1, y1) * fx;
        out.rgb[static_cast<std::size_t>(3 * (y * width + x) + c)] =
            static_cast<std::uint8_t>(std::lround(top * (1 - fy) + bottom * fy));
      }
    }
  return out;
}

data::Image crop(const data::Image& image, std::int64_t x, std::int64_t y, std::int64_t width,
                 std::int64_t height) {
  data::Image out{width, height, {}};
  for (std::int64_t row = y; row < y + height; ++row) {
    const auto begin = image.rgb.begin() + 3 * (row * image.width + x);
    out.rgb.insert(out.rgb.end(), begin, begin + 3 * width);
  }
  return out;
}

}  // namespace trireme::worker::stages::synthesize

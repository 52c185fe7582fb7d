// What a synthetic picture shows. Positions and sizes are shares of the picture's side; y grows downwards.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/random.h"

namespace trireme::worker::stages::synthesize {

enum class Shape { kCircle, kSquare, kTriangle, kStar, kRing, kCross, kDiamond, kHexagon, kHeart, kCrescent };
inline constexpr int kShapes = 10;

struct Colour {
  std::string_view name;
  int red, green, blue;
};
inline constexpr int kColours = 11;
const Colour& colour(int index);

enum class Size { kSmall, kMedium, kLarge };  // radius below .13, between, from .2

struct Object {
  Shape shape = Shape::kCircle;
  int colour = 0;
  Size size = Size::kMedium;
  double x = 0.5, y = 0.5, radius = 0.15, angle = 0;  // radius of the circumscribed circle; angle in radians
};

// How objects[0] lies to objects[1].
enum class Relation { kNone, kLeftOf, kRightOf, kAbove, kBelow, kOn, kInside };

enum class Ground { kPlain, kGradient, kStripes, kSky, kGrass, kSnow, kSand };
struct Background {
  Ground ground = Ground::kPlain;
  int first = 0, second = 0;  // colours of plain, gradient (top, bottom) and stripes
};

// One object; two in a relation; two to five equal ones; or three different ones side by side.
struct Scene {
  Background background;
  std::vector<Object> objects;
  Relation relation = Relation::kNone;
  bool equal = false;  // all objects have one shape and colour and are counted
};

std::string_view name_of(Shape shape);        // "circle" …
std::string_view name_of(Relation relation);  // "left of", …, "" for none
std::string_view name_of(Ground ground);
std::string_view name_of(Size size);  // "small", "", "large"

// Drawn from the stream; objects stand out from the background and, but for on and inside, do not touch.
Scene draw_scene(RandomStream& random);

}  // namespace trireme::worker::stages::synthesize

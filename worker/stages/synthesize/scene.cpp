#include "worker/stages/synthesize/scene.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace trireme::worker::stages::synthesize {
namespace {
constexpr std::array<Colour, kColours> kPalette{{{"red", 214, 38, 40},
                                                 {"green", 40, 150, 60},
                                                 {"blue", 40, 80, 205},
                                                 {"yellow", 245, 215, 45},
                                                 {"orange", 250, 140, 25},
                                                 {"purple", 130, 60, 170},
                                                 {"pink", 250, 135, 190},
                                                 {"brown", 125, 75, 35},
                                                 {"black", 20, 20, 20},
                                                 {"white", 248, 248, 248},
                                                 {"grey", 135, 135, 135}}};
constexpr int kGreen = 1, kBlue = 2, kYellow = 3, kWhite = 9;

// Colours that cannot be told from the background.
bool hides(const Background& background, int candidate) {
  switch (background.ground) {
    case Ground::kSky:
      return candidate == kBlue || candidate == kWhite;
    case Ground::kGrass:
      return candidate == kGreen;
    case Ground::kSnow:
      return candidate == kWhite;
    case Ground::kSand:
      return candidate == kYellow;
    case Ground::kPlain:
      return candidate == background.first;
    default:
      return candidate == background.first || candidate == background.second;
  }
}

Background draw_background(RandomStream& random) {
  Background background;
  background.ground = static_cast<Ground>(random.below(7));
  background.first = static_cast<int>(random.below(kColours));
  background.second = (background.first + 1 + static_cast<int>(random.below(kColours - 1))) % kColours;
  return background;
}

Object draw_object(const Background& background, RandomStream& random) {
  Object object;
  object.shape = static_cast<Shape>(random.below(kShapes));
  do object.colour = static_cast<int>(random.below(kColours));
  while (hides(background, object.colour));
  object.angle = random.uniform(-0.15, 0.15);
  return object;
}

void set_size(Object& object, Size size, RandomStream& random) {
  object.size = size;
  object.radius = size == Size::kSmall    ? random.uniform(0.09, 0.12)
                  : size == Size::kMedium ? random.uniform(0.14, 0.18)
                                          : random.uniform(0.21, 0.27);
}

Scene one_object(Scene scene, RandomStream& random) {
  Object object = draw_object(scene.background, random);
  set_size(object, static_cast<Size>(random.below(3)), random);
  object.x = random.uniform(object.radius + 0.02, 0.98 - object.radius);
  object.y = random.uniform(object.radius + 0.02, 0.98 - object.radius);
  scene.objects = {object};
  return scene;
}

bool alike(const Object& a, const Object& b) {
  return a.shape == b.shape && a.colour == b.colour;
}

// Two unlike objects; for `inside` the second is large and roomy, for `on` both are flat at the seam.
void draw_pair(Scene& scene, RandomStream& random) {
  const bool inside = scene.relation == Relation::kInside, on = scene.relation == Relation::kOn;
  Object a = draw_object(scene.background, random), b;
  if (on) a.shape = Shape::kSquare;
  do {
    b = draw_object(scene.background, random);
    if (inside) b.shape = random.below(2) == 0 ? Shape::kCircle : Shape::kSquare;
    if (on) b.shape = random.below(2) == 0 ? Shape::kHexagon : Shape::kSquare;
  } while (alike(a, b) || (inside && a.colour == b.colour));
  set_size(a, inside ? Size::kSmall : static_cast<Size>(random.below(2)), random);
  set_size(b, inside ? Size::kLarge : static_cast<Size>(random.below(2)), random);
  if (on) a.angle = b.angle = 0;
  scene.objects = {a, b};
}

// Half the height of a flat shape that stands upright, in radii.
double half_height(Shape shape) {
  return std::sqrt(shape == Shape::kSquare ? 0.5 : 0.75);
}

void place_pair(Scene& scene, RandomStream& random) {
  Object &a = scene.objects[0], &b = scene.objects[1];
  a.x = a.y = b.x = b.y = random.uniform(0.45, 0.55);
  const double half = (a.radius + b.radius + random.uniform(0.03, 0.12)) / 2,
               shift = random.uniform(-0.05, 0.05);
  switch (scene.relation) {
    case Relation::kLeftOf:
    case Relation::kRightOf: {
      const double side = scene.relation == Relation::kLeftOf ? -1 : 1;
      a.x = 0.5 + side * half, b.x = 0.5 - side * half, b.y += shift;
      break;
    }
    case Relation::kAbove:
    case Relation::kBelow: {
      const double side = scene.relation == Relation::kAbove ? -1 : 1;
      a.y = 0.5 + side * half, b.y = 0.5 - side * half, b.x += shift;
      break;
    }
    case Relation::kOn:
      b.y += 0.5 * b.radius;
      a.y = b.y - half_height(b.shape) * b.radius - half_height(a.shape) * a.radius;
      break;
    default:
      break;
  }
}

Scene pair(Scene scene, RandomStream& random) {
  scene.relation = static_cast<Relation>(1 + random.below(6));
  draw_pair(scene, random);
  place_pair(scene, random);
  return scene;
}

// Cells of a 3 x 3 grid, so that nothing touches; left to right, then down.
std::vector<int> draw_cells(std::uint64_t count, RandomStream& random) {
  std::vector<int> cells{0, 1, 2, 3, 4, 5, 6, 7, 8};
  for (std::size_t i = 0; i < count; ++i) std::swap(cells[i], cells[i + random.below(cells.size() - i)]);
  cells.resize(count);
  std::sort(cells.begin(), cells.end());
  return cells;
}

void place_in_cell(Object& object, int cell, RandomStream& random) {
  set_size(object, Size::kMedium, random);
  object.radius = random.uniform(0.13, 0.145);
  const int column = cell % 3, row = cell / 3;
  object.x = (column + 0.5) / 3 + random.uniform(-0.01, 0.01);
  object.y = (row + 0.5) / 3 + random.uniform(-0.01, 0.01);
}

Scene counted(Scene scene, RandomStream& random) {
  scene.equal = true;
  Object object = draw_object(scene.background, random);
  for (const int cell : draw_cells(2 + random.below(4), random)) {
    object.angle = random.uniform(-0.15, 0.15);
    place_in_cell(object, cell, random);
    scene.objects.push_back(object);
  }
  return scene;
}

Scene three_different(Scene scene, RandomStream& random) {
  for (const int cell : draw_cells(3, random)) {
    Object object;
    do object = draw_object(scene.background, random);
    while (std::any_of(scene.objects.begin(), scene.objects.end(),
                       [&](const Object& o) { return alike(o, object); }));
    place_in_cell(object, cell, random);
    scene.objects.push_back(object);
  }
  return scene;
}
}  // namespace

const Colour& colour(int index) {
  return kPalette[static_cast<std::size_t>(index)];
}
std::string_view name_of(Shape shape) {
  constexpr std::string_view kNames[] = {"circle", "square",  "triangle", "star",  "ring",
                                         "cross",  "diamond", "hexagon",  "heart", "crescent"};
  return kNames[static_cast<int>(shape)];
}
std::string_view name_of(Relation relation) {
  constexpr std::string_view kNames[] = {"", "left of", "right of", "above", "below", "on", "inside"};
  return kNames[static_cast<int>(relation)];
}
std::string_view name_of(Ground ground) {
  constexpr std::string_view kNames[] = {"plain", "gradient", "stripes", "sky", "grass", "snow", "sand"};
  return kNames[static_cast<int>(ground)];
}
std::string_view name_of(Size size) {
  return size == Size::kSmall ? "small" : size == Size::kLarge ? "large" : "";
}

Scene draw_scene(RandomStream& random) {
  Scene scene;
  scene.background = draw_background(random);
  const double kind = random.uniform();
  if (kind < 0.25) return one_object(std::move(scene), random);
  if (kind < 0.65) return pair(std::move(scene), random);
  if (kind < 0.85) return counted(std::move(scene), random);
  return three_different(std::move(scene), random);
}

}  // namespace trireme::worker::stages::synthesize

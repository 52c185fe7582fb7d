#include "worker/stages/synthesize/concepts.h"

namespace trireme::worker::stages::synthesize {
namespace {

constexpr double kAside = 0.2;  // weight of scenery, of sizes

// Scaled so that `main` and `aside` sum to 1, `aside` having its share when it is not empty.
Concepts join(const Concepts& main, const Concepts& aside) {
  const auto sum = [](const Concepts& concepts) {
    double total = 0;
    for (const auto& [name, weight] : concepts) total += weight;
    return total;
  };
  Concepts all;
  for (const auto& [name, weight] : main) all[name] += weight / sum(main) * (aside.empty() ? 1 : 1 - kAside);
  for (const auto& [name, weight] : aside) all[name] += weight / sum(aside) * kAside;
  return all;
}

}  // namespace

Concepts object_concepts(const Scene& scene) {
  Concepts shapes, scenery;
  for (const Object& object : scene.objects)
    shapes[std::string(name_of(object.shape))] += object.radius * object.radius;
  const Ground ground = scene.background.ground;
  if (ground == Ground::kSky || ground == Ground::kGrass || ground == Ground::kSnow ||
      ground == Ground::kSand)
    scenery[std::string(name_of(ground))] = 1;
  return join(shapes, scenery);
}

Concepts attribute_concepts(const Scene& scene) {
  Concepts colours, sizes;
  for (const Object& object : scene.objects) {
    const double area = object.radius * object.radius;
    colours[std::string(colour(object.colour).name)] += area;
    if (object.size != Size::kMedium) sizes[std::string(name_of(object.size))] += area;
  }
  return join(colours, sizes);
}

}  // namespace trireme::worker::stages::synthesize

#include "worker/models/towers/efficientnet_shape.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "common/base/error.h"
#include "jobs/specification/model_defaults.h"

namespace trireme::worker::models {
namespace {

struct Stage {
  std::int64_t repeats, kernel, stride, expand, in, out;
};
constexpr std::array<Stage, 7> kStages{{{1, 3, 1, 1, 32, 16},
                                        {2, 3, 2, 6, 16, 24},
                                        {2, 5, 2, 6, 24, 40},
                                        {3, 3, 2, 6, 40, 80},
                                        {3, 5, 1, 6, 80, 112},
                                        {4, 5, 2, 6, 112, 192},
                                        {1, 3, 1, 6, 192, 320}}};
constexpr std::int64_t kStem = 32, kHead = 1280;

// By ImageTowerKind, a vit apart.
constexpr std::array<EfficientNetFactors, names_of(jobs::ImageTowerKind{}).size()> kKinds{{{},
                                                                                           {1.0, 1.0},
                                                                                           {1.0, 1.1},
                                                                                           {1.1, 1.2},
                                                                                           {1.2, 1.4},
                                                                                           {1.4, 1.8},
                                                                                           {1.6, 2.2},
                                                                                           {1.8, 2.6},
                                                                                           {2.0, 3.1},
                                                                                           {4.3, 5.3},
                                                                                           {1.0, 1.0},
                                                                                           {1.0, 1.1},
                                                                                           {1.1, 1.2}}};

std::int64_t scaled_width(std::int64_t channels, double factor) {
  const double wanted = static_cast<double>(channels) * factor;
  const std::int64_t rounded = std::max<std::int64_t>(8, static_cast<std::int64_t>(wanted + 4) / 8 * 8);
  return static_cast<double>(rounded) < 0.9 * wanted ? rounded + 8 : rounded;
}

}  // namespace

EfficientNetFactors efficientnet_factors(const jobs::ImageTowerSpec& spec) {
  if (!jobs::is_efficientnet(spec)) throw Error(ErrorKind::kInvalid, "a vit is no EfficientNet");
  const EfficientNetFactors& own = kKinds[static_cast<std::size_t>(spec.kind)];
  return {spec.width_factor.value_or(own.width), spec.depth_factor.value_or(own.depth)};
}

EfficientNetShape efficientnet_shape(const jobs::ImageTowerSpec& spec) {
  const EfficientNetFactors factors = efficientnet_factors(spec);
  const bool lite = jobs::is_efficientnet_lite(spec);
  EfficientNetShape shape;
  shape.relu6 = lite;
  shape.stem = lite ? kStem : scaled_width(kStem, factors.width);
  if (spec.head_conv.value_or(lite)) shape.head = lite ? kHead : scaled_width(kHead, factors.width);
  std::int64_t in = shape.stem;
  for (std::size_t i = 0; i < kStages.size(); ++i) {
    const Stage& stage = kStages[i];
    const bool fixed = lite && (i == 0 || i + 1 == kStages.size());
    // A hundredth of a thousandth less, because 2 * 1.1 is a little more than 2.2.
    const double repeats = static_cast<double>(stage.repeats) * factors.depth - 1e-9;
    shape.repeats.push_back(fixed ? stage.repeats
                                  : std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(repeats))));
    for (std::int64_t repeat = 0; repeat < shape.repeats.back(); ++repeat) {
      EfficientNetBlock block{stage.kernel, repeat == 0 ? stage.stride : 1, stage.expand, in,
                              scaled_width(stage.out, factors.width)};
      block.squeeze = lite ? 0 : std::max<std::int64_t>(1, in / 4);
      block.residual = repeat > 0;
      shape.blocks.push_back(block);
      in = block.out;
    }
  }
  return shape;
}

}  // namespace trireme::worker::models

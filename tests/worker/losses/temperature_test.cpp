#include "worker/losses/temperature.h"

#include <gtest/gtest.h>

#include <cmath>

#include "common/base/error.h"

namespace trireme::worker::losses {
namespace {

TEST(Temperature, BothParametersMeanOneScale) {
  const Temperature clip, align{.kind = TemperatureKind::kSigma};
  EXPECT_NEAR(clip.parameter_of(0.07), 2.6592600369, 1e-10);
  EXPECT_EQ(align.parameter_of(0.07), 0.07);
  EXPECT_NEAR(clip.scale(clip.parameter_of(0.07)), align.scale(0.07), 1e-12);
  EXPECT_THROW(align.scale(0), Error);
  EXPECT_THROW(align.scale(NAN), Error);
}

TEST(Temperature, GradientsFollowTheChainRule) {
  // L(scale) = scale^2, so dL/d ln(scale) = 2 scale^2.
  const auto loss = [](double scale) { return scale * scale; };
  for (const auto kind : {TemperatureKind::kLogitScale, TemperatureKind::kSigma}) {
    const Temperature temperature{.kind = kind};
    const double at = temperature.parameter_of(0.3), h = 1e-6;
    const double slope = (loss(temperature.scale(at + h)) - loss(temperature.scale(at - h))) / (2 * h);
    EXPECT_NEAR(temperature.gradient(at, 2 * loss(temperature.scale(at))), slope, 1e-5);
    EXPECT_EQ((Temperature{.kind = kind, .learnt = false}.gradient(at, 5)), 0);
  }
}

TEST(Temperature, BoundsAreThoseOfTheScale) {
  const auto [clip_least, clip_most] = Temperature{}.bounds();
  EXPECT_EQ(clip_least, 0);
  EXPECT_NEAR(clip_most, 4.6051701860, 1e-10);
  const auto [align_least, align_most] = Temperature{.kind = TemperatureKind::kSigma}.bounds();
  EXPECT_NEAR(align_least, 0.01, 1e-15);
  EXPECT_EQ(align_most, 1);
}

}  // namespace
}  // namespace trireme::worker::losses

#include "common/base/name_pattern.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

TEST(NamePattern, MatchesLikeAShell) {
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("visual.*", "visual.conv1.weight"));
  EXPECT_TRUE(matches("*.bias", "visual.ln.bias"));
  EXPECT_TRUE(matches("*ln*b*s", "visual.ln.bias"));
  EXPECT_TRUE(matches("a*b*c", "aXbXbXc"));
  EXPECT_FALSE(matches("a*b*c", "aXbXc2"));
  EXPECT_FALSE(matches("visual", "visual.ln.bias"));
  EXPECT_FALSE(matches("", "x"));
  EXPECT_TRUE(matches("a.*.b", "a.x.y.b"));
  EXPECT_FALSE(matches("a*c", "abd"));
  EXPECT_TRUE(matches("logit_scale", "logit_scale"));
}

}  // namespace
}  // namespace trireme

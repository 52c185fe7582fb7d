#include "worker/optim/parameter_groups.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/base/error.h"

namespace trireme::worker::optim {
namespace {

const NamedTensors kParameters{{"visual.conv1.weight", at::ones({2, 2})},
                               {"visual.ln.bias", at::ones({2})},
                               {"concepts.objects.weight", at::ones({2, 2})},
                               {"logit_scale", at::ones({})}};

TEST(ParameterGroups, DecayActsOnMatricesUnlessAllAreAsked) {
  const auto matrices = treatments(kParameters, {.weight_decay = 0.2});
  EXPECT_EQ(matrices[0].weight_decay, 0.2);
  EXPECT_EQ(matrices[1].weight_decay, 0);
  EXPECT_EQ(matrices[3].weight_decay, 0);
  for (const auto& one : treatments(kParameters, {.weight_decay = 0.2, .decay_all = true}))
    EXPECT_EQ(one.weight_decay, 0.2);
}

TEST(ParameterGroups, TheFirstRuleThatMatchesHolds) {
  const GroupOptions options{.weight_decay = 0.2,
                             .rules = {{"concepts.*", 10, 0.01}, {"*.weight", 1, 0, false}}};
  const auto found = treatments(kParameters, options);
  EXPECT_DOUBLE_EQ(found[2].weight_decay, 0.002);
  EXPECT_EQ(found[2].learning_rate_factor, 10);
  EXPECT_TRUE(found[2].layer_adaptation);
  EXPECT_EQ(found[0].weight_decay, 0);
  EXPECT_FALSE(found[0].layer_adaptation);
  EXPECT_EQ(found[1].learning_rate_factor, 1);
}

TEST(ParameterGroups, ARuleForNothingIsAMistake) {
  try {
    treatments(kParameters, {.rules = {{"head.*"}}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(error.what()).find("head.*"), std::string::npos);
  }
}

}  // namespace
}  // namespace trireme::worker::optim

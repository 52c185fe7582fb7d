#include "coordinator/serve/merging.h"

#include <gtest/gtest.h>

namespace trireme::coordinator::serve {
namespace {

using nlohmann::ordered_json;

TEST(Merging, BestHitsComeFirstAndEqualOnesStay) {
  std::vector<ordered_json> hits = {
      {{"id", "a"}, {"score", 0.5F}}, {{"id", "b"}, {"score", 0.9F}}, {{"id", "c"}, {"score", 0.5F}}};
  sort_hits(hits);
  EXPECT_EQ(hits[0]["id"], "b");
  EXPECT_EQ(hits[1]["id"], "a");
  EXPECT_EQ(hits[2]["id"], "c");
}

TEST(Merging, CopiesOfBetterHitsAreLeftOut) {
  const auto hit = [](const char* id, std::vector<float> row) {
    return ordered_json{{"id", id}, {"embedding", row}};
  };
  // c is a copy of b, which is itself left out: c stays.
  const auto kept = distinct_hits(
      {hit("a", {1, 0}), hit("b", {0.95F, 0.31225F}), hit("c", {0.8F, 0.6F}), hit("d", {0, 1})}, 0.9, 2);
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(kept[0]["id"], "a");
  EXPECT_EQ(kept[1]["id"], "c");
}

}  // namespace
}  // namespace trireme::coordinator::serve

#include "worker/data/shards/sample_fields.h"

#include <gtest/gtest.h>

#include "jobs/layouts/readable_json.h"

namespace trireme::worker::data {
namespace {

const ConceptPlaces kPlaces{{"dog", 0}, {"snow", 1}, {"ball", 2}, {"cat", 3}, {"tree", 4}};

struct Read {
  ConceptFault fault = ConceptFault::kNone;
  Concepts concepts;
  std::int64_t beyond = 0;
};

Read read(const std::string& json, std::int64_t top_k = 0) {
  Read result;
  result.fault = concept_field(json, "objects", kPlaces, top_k, result.concepts, result.beyond);
  return result;
}

TEST(TextField, IsCleanedLikeACaption) {
  EXPECT_EQ(text_field(R"({"synthetic_caption": "  a dog\n", "n": 1})", "synthetic_caption"), "a dog");
  EXPECT_EQ(text_field(R"({"synthetic_caption": null})", "synthetic_caption"), "");
  EXPECT_EQ(text_field(R"({"synthetic_caption": 7})", "synthetic_caption"), "");
  EXPECT_EQ(text_field(R"({"caption": "x"})", "synthetic_caption"), "");
  EXPECT_EQ(text_field("", "x"), "");
  EXPECT_EQ(text_field("not json", "x"), "");
  EXPECT_EQ(text_field("[1, 2]", "x"), "");
}

// json.dumps of a score that is missing in a table of pandas is NaN.
TEST(TextField, WhatPythonWritesIsRead) {
  const std::string json =
      "\xEF\xBB\xBF"
      R"({"caption": "NaN \"Infinity\" dogs", "a": NaN, "b": [-Infinity, Infinity, 1]})";
  EXPECT_EQ(jobs::readable_json(json),
            R"({"caption": "NaN \"Infinity\" dogs", "a": null, "b": [null, null, 1]})");
  EXPECT_EQ(text_field(json, "caption"), "NaN \"Infinity\" dogs");
  EXPECT_EQ(strings_at(json, "caption").size(), 1U);
  EXPECT_EQ(with_columns(R"({"a": NaN})", R"({"b": 1})"), R"({"a":null,"b":1})");
  EXPECT_EQ(jobs::readable_json(R"({"a": 1})"), R"({"a": 1})");
}

TEST(ConceptField, KeepsTheTopKAndRenormalises) {  // METHODS 10.6
  const auto found =
      read(R"({"objects": {"dog": 0.40, "snow": 0.05, "ball": 0.25, "cat": 0.10, "tree": 0.20}})", 3);
  EXPECT_EQ(found.fault, ConceptFault::kNone);
  EXPECT_EQ(found.concepts.index, (std::vector<std::int64_t>{0, 2, 4}));
  ASSERT_EQ(found.concepts.probability.size(), 3U);
  EXPECT_NEAR(found.concepts.probability[0], .4705882353, 1e-10);
  EXPECT_NEAR(found.concepts.probability[1], .2941176471, 1e-10);
  EXPECT_NEAR(found.concepts.probability[2], .2352941176, 1e-10);
}

TEST(ConceptField, AListSharesAlikeAndTiesGoToTheFirstOfTheVocabulary) {
  const auto found = read(R"({"objects": ["tree", "cat", "dog"]})", 2);
  EXPECT_EQ(found.concepts.index, (std::vector<std::int64_t>{0, 3}));
  EXPECT_EQ(found.concepts.probability, (std::vector<double>{0.5, 0.5}));
  EXPECT_EQ(read(R"({"objects": ["cat", "cat", "dog"]})").concepts.index, (std::vector<std::int64_t>{3, 0}));
}

TEST(ConceptField, WhatIsBeyondTheVocabularyIsCountedAndLeftOut) {
  const auto found = read(R"({"objects": {"dog": 0.2, "zebra": 0.5, "ball": 0.2, "quark": 0.1}})");
  EXPECT_EQ(found.beyond, 2);
  EXPECT_EQ(found.concepts.probability, (std::vector<double>{0.5, 0.5}));
  const auto none = read(R"({"objects": ["zebra"]})");
  EXPECT_EQ(none.beyond, 1);
  EXPECT_EQ(none.fault, ConceptFault::kMissing);
}

TEST(ConceptField, SaysWhatIsWrong) {
  EXPECT_EQ(read("").fault, ConceptFault::kMissing);
  EXPECT_EQ(read("{}").fault, ConceptFault::kMissing);
  EXPECT_EQ(read(R"({"objects": {}})").fault, ConceptFault::kMissing);
  EXPECT_EQ(read(R"({"objects": null})").fault, ConceptFault::kMissing);
  for (const char* bad :
       {R"({"objects": "dog"})", R"({"objects": {"dog": "much"}})", R"({"objects": {"dog": -0.1}})",
        R"({"objects": {"dog": 0}})", R"({"objects": [1, 2]})", R"({"objects": {"dog": [1]}})"})
    EXPECT_EQ(read(bad).fault, ConceptFault::kMalformed) << bad;
}

}  // namespace
}  // namespace trireme::worker::data

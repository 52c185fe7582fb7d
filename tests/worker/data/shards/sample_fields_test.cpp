#include "worker/data/shards/sample_fields.h"

#include <gtest/gtest.h>

#include "jobs/layouts/readable_json.h"
#include "worker/data/shards/sample_json.h"

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

// The right values are those of Python's json, whose integers have no end; half of a surrogate pair is what a
// caption that was cut between UTF-16 units ends in.
TEST(TextField, IntegersBeyond64BitsAndHalfPairsCostNoSample) {
  const std::string json =
      R"({"n": 123456789012345678901234567890, "caption": "dog \ud83d\ude00 \ud83d", "m": -9223372036854775809,)"
      R"( "u": 18446744073709551615, "x": 1e999, "y": 0.12345678901234567890, "z": 1e-999})";
  EXPECT_EQ(
      jobs::readable_json(json),
      R"({"n": 123456789012345678901234567890.0, "caption": "dog \ud83d\ude00 \ufffd", "m": -9223372036854775809.0,)"
      R"( "u": 18446744073709551615, "x": null, "y": 0.12345678901234567890, "z": 1e-999})");
  EXPECT_EQ(text_field(json, "caption"), "dog \xF0\x9F\x98\x80 \xEF\xBF\xBD");
  EXPECT_EQ(json_fault(json), "");
  EXPECT_EQ(with_columns(json, R"({"b": 1})").find("1.2345678901234568e+29"), 5U);
  EXPECT_EQ(text_field("{\"n\": " + std::string(400, '7') + ", \"caption\": \"a dog\"}", "caption"), "a dog");
}

TEST(TextField, WhyNothingIsReadIsSaid) {
  EXPECT_EQ(json_fault("[1]"), "it is an array, no object");
  EXPECT_EQ(json_fault("7"), "it is no object");
  EXPECT_EQ(json_fault("{" + std::string(std::size_t{1} << 20, ' ') + "}"), "it is longer than 1 MiB");
  EXPECT_EQ(json_fault("{'caption': 1}").find("it is no JSON ("), 0U);
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

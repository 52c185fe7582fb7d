#include "jobs/specification/json/json_document.h"

#include <gtest/gtest.h>

#include <cmath>

#include "common/base/random.h"

namespace trireme::jobs {
namespace {

std::string first_code(const std::string& text) {
  std::vector<SpecFault> faults;
  parse_json(text, faults);
  return faults.empty() ? "" : faults[0].code;
}

TEST(Json, RefusesWhatJsonIsNot) {
  for (const char* text :
       {"",       " ",          "{",           "[1,]",  "{\"a\":1,}", "{a:1}", "'a'",
        "01",     "1.",         ".5",          "+1",    "1e",         "-",     "nul",
        "NaN",    "Infinity",   "-Infinity",   "[1 2]", "{\"a\" 1}",  "1 2",   "{} x",
        "\"\n\"", "\"\\x\"",    "\"\\u12g4\"", "\"abc", "// c\n1",    "# c",   "\xef\xbb\xbf{}",
        "[1]]",   "{\"a\":1}}", "tru",         "\xff"})
    EXPECT_EQ(first_code(text), "syntax") << text;
}

TEST(Json, FaultsThatItCanPassOver) {
  EXPECT_EQ(first_code(R"({"a":1,"a":2})"), "duplicate_key");
  EXPECT_EQ(first_code(R"({"a":1,"\u0061":2})"), "duplicate_key");
  EXPECT_EQ(first_code("9007199254740993"), "out_of_range");
  EXPECT_EQ(first_code("-99999999999999999999"), "out_of_range");
  EXPECT_EQ(first_code("1e999"), "out_of_range");
  EXPECT_EQ(first_code("\"\\ud800\""), "bad_string");
  EXPECT_EQ(first_code("\"\\udc00\\ud800\""), "bad_string");
  EXPECT_EQ(first_code("\"\\u0000\""), "bad_string");
  EXPECT_EQ(first_code("\"\xff\""), "bad_string");
  EXPECT_EQ(first_code("\"\xed\xa0\x80\""), "bad_string");
  EXPECT_EQ(first_code("9007199254740992"), "");
  EXPECT_EQ(first_code("\"\\ud83d\\ude00\""), "");
  std::vector<SpecFault> faults;
  parse_json(R"({"a":{"b/c":[1,{"x":1,"x":2}]},"z":1e999})", faults);
  ASSERT_EQ(faults.size(), 2U);
  EXPECT_EQ(faults[0].pointer, "/a/b~1c/1/x");
  EXPECT_EQ(faults[1].pointer, "/z");
}

TEST(Json, DepthAndSizeAreLimited) {
  EXPECT_EQ(first_code(std::string(32, '[') + std::string(32, ']')), "");
  EXPECT_EQ(first_code(std::string(33, '[') + std::string(33, ']')), "too_deep");
  EXPECT_EQ(first_code(std::string(1000000, '[')), "too_deep");
  EXPECT_EQ(first_code("\"" + std::string(1 << 20, 'x') + "\""), "too_large");
}

TEST(Json, TellsLineAndColumn) {
  std::vector<SpecFault> faults;
  parse_json("{\n  \"a\": 1\n  \"b\": 2\n}", faults);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_NE(faults[0].detail.find("line 3, column 3"), std::string::npos) << faults[0].detail;
}

TEST(Json, WhatIsWrittenReadsBackTheSame) {
  RandomStream random(3, RandomPurpose::kTest);
  for (int i = 0; i < 2000; ++i) {
    const double value = (random.uniform() - 0.5) * std::pow(10.0, random.uniform(-300, 300));
    std::vector<SpecFault> faults;
    EXPECT_EQ(parse_json(dump_json(Json(value)), faults).number, value);
    EXPECT_TRUE(faults.empty());
  }
  const std::string text = R"({"a":[1,true,null,"q\"\\\n\u0001é😀"],"b":{}})";
  std::vector<SpecFault> faults;
  const Json value = parse_json(text, faults);
  EXPECT_EQ(dump_json(value), text);
  EXPECT_EQ(dump_json(parse_json(dump_json(value, 2), faults)), text);
}

TEST(Json, NearestAt) {
  std::vector<SpecFault> faults;
  const Json root = parse_json(R"({"a":{"b/c":[10,20]}})", faults);
  EXPECT_EQ(nearest_at(root, "/a/b~1c/1").integer, 20);
  EXPECT_EQ(nearest_at(root, "/a/b~1c/7").items.size(), 2U);
  EXPECT_EQ(&nearest_at(root, "/x"), &root);
}

}  // namespace
}  // namespace trireme::jobs

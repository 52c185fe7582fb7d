// What reading a job costs is linear in its length: twice the text takes about twice the time, whatever is
// wrong with it, and the faults that are told are a hundred.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "common/base/processor_time.h"
#include "jobs/specification/job_spec.h"
#include "jobs/specification/json/names.h"

namespace trireme::jobs {
namespace {

struct Shape {
  const char* name;
  std::function<std::string(int)> text;
};

std::string many(int count, const std::function<std::string(std::string)>& one) {
  std::string out;
  for (int i = 0; i < count; ++i) out += (i == 0 ? "" : ",") + one(std::to_string(i));
  return out;
}

std::string job_with(const std::string& spec) {
  return R"({"apiVersion":"trireme/v1","kind":"Pipeline","name":"n","spec":{"output":"o",)" + spec + "}}";
}

const std::vector<Shape> kShapes{
    {"unknown keys", [](int n) { return "{" + many(n, [](auto i) { return "\"nome" + i + "\":1"; }) + "}"; }},
    {"one key again and again",
     [](int n) { return "{" + many(n, [](auto) { return "\"name\":\"x\""; }) + "}"; }},
    {"unknown keys of the pipeline",
     [](int n) { return job_with(many(n, [](auto i) { return "\"stoges" + i + "\":1"; })); }},
    {"needs that are not there",
     [](int n) {
       return job_with(R"("data":{"a":"b"},"stages":[{"name":"train","kind":"index","needs":[)" +
                       many(n, [](auto i) { return "\"troin" + i + "\""; }) + "]}]");
     }},
    {"stages",
     [](int n) {
       return job_with("\"stages\":[" + many(n, [](auto i) { return "{\"name\":\"s" + i + "\"}"; }) + "]");
     }},
    {"models",
     [](int n) {
       return job_with("\"models\":{" + many(n, [](auto i) { return "\"m" + i + "\":{}"; }) + "}");
     }},
    {"data sets",
     [](int n) { return job_with("\"data\":{" + many(n, [](auto i) { return "\"d" + i + "\":1"; }) + "}"); }},
    {"sources",
     [](int n) {
       return job_with("\"data\":{\"d\":{\"sources\":[" + many(n, [](auto) { return "{}"; }) + "]}}");
     }},
    {"labels",
     [](int n) { return "{\"labels\":{" + many(n, [](auto i) { return "\"" + i + "\":1"; }) + "}}"; }},
    {"numbers beyond a double", [](int n) { return "[" + many(n, [](auto) { return "1e999"; }) + "]"; }},
    {"half surrogates", [](int n) { return "[" + many(n, [](auto) { return "\"\\ud800\""; }) + "]"; }},
    {"a long name",
     [](int n) { return "{\"name\":\"" + std::string(static_cast<std::size_t>(10 * n), 'a') + "\"}"; }},
    {"open brackets", [](int n) { return std::string(static_cast<std::size_t>(n), '['); }},
    {"lines", [](int n) { return std::string(static_cast<std::size_t>(10 * n), '\n'); }},
};

double seconds_of(const std::string& text, std::size_t& faults) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double begin = thread_seconds();
    faults = read_job(text).faults.size();
    best = std::min(best, thread_seconds() - begin);
  }
  return best;
}

TEST(Length, TwiceTheTextTakesTwiceTheTime) {
  constexpr int kMany = 16000;
  for (const Shape& shape : kShapes) {
    std::size_t faults = 0;
    const double once = seconds_of(shape.text(kMany), faults),
                 twice = seconds_of(shape.text(2 * kMany), faults);
    EXPECT_LT(twice, 3 * once + 0.05) << shape.name << ": " << once << " s, then " << twice << " s";
    EXPECT_LT(twice, 2) << shape.name;
    EXPECT_GT(faults, 0U) << shape.name;
    EXPECT_LE(faults, kMostFaults + 1) << shape.name;
  }
}

TEST(Length, WhatIsNotListedIsCounted) {
  const auto faults = read_job("{" + many(16000, [](auto i) { return "\"nome" + i + "\":1"; }) + "}").faults;
  ASSERT_EQ(faults.size(), kMostFaults + 1);
  const auto first = std::ranges::find(faults, std::string("/nome0"), &SpecFault::pointer);
  ASSERT_NE(first, faults.end());
  EXPECT_EQ(first->hint, "did you mean \"name\"?");
  EXPECT_EQ(faults.back().code, "more");
  EXPECT_GE(std::stoul(faults.back().detail.substr(4)), 15900U) << faults.back().detail;
}

}  // namespace
}  // namespace trireme::jobs

#include "worker/evaluation/caption_scores.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "common/base/error.h"

namespace trireme::worker::evaluation {
namespace {

std::vector<double> numbers(std::istringstream& line) {
  std::vector<double> values;
  for (double value = 0; line >> value;) values.push_back(value);
  return values;
}

void expect_near(const std::vector<double>& ours, const std::vector<double>& theirs, std::size_t from) {
  ASSERT_EQ(ours.size() + from, theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], theirs[i + from], 1e-9) << i;
}

// tests/oracles/record_caption_scores.py
TEST(CaptionScores, EqualPycocoevalcap) {
  std::ifstream file(TRIREME_SOURCE_DIR "/tests/golden/caption_scores.txt");
  ASSERT_TRUE(file);
  std::vector<ScoredCaption> captions;
  CaptionScores scores;
  int sets = 0;
  for (std::string text; std::getline(file, text);) {
    std::istringstream line(text);
    std::string what;
    line >> what;
    if (what == "C") captions.push_back({text.substr(2), {}});
    if (what == "R") captions.back().references.push_back(text.substr(2));
    if (what == "BLEU") {
      scores = score_captions(captions);
      expect_near({scores.bleu.begin(), scores.bleu.end()}, numbers(line), 0);
    }
    if (what == "ROUGE_L") {
      const auto theirs = numbers(line);
      EXPECT_NEAR(scores.rouge_l, theirs.at(0), 1e-9);
      expect_near(scores.rouge_l_each, theirs, 1);
    }
    if (what == "CIDEr") {
      const auto theirs = numbers(line);
      EXPECT_NEAR(scores.cider, theirs.at(0), 1e-9);
      expect_near(scores.cider_each, theirs, 1);
      captions.clear();
      ++sets;
    }
  }
  EXPECT_EQ(sets, 3);
}

TEST(CaptionScores, TheReferenceItselfIsPerfect) {
  const std::vector<ScoredCaption> captions = {
      {"a dog runs in the snow", {"a dog runs in the snow", "snow"}},
      {"two men on a red boat", {"people", "two men on a red boat"}}};
  const auto scores = score_captions(captions);
  for (const double bleu : scores.bleu) EXPECT_NEAR(bleu, 1, 1e-8);
  EXPECT_NEAR(scores.rouge_l, 1, 1e-12);
  EXPECT_GT(scores.cider, 4);
  const auto metrics = caption_metrics(scores);
  EXPECT_EQ(metrics.size(), 6U);
  EXPECT_EQ(metric(metrics, "CIDEr"), scores.cider);
}

TEST(CaptionScores, EmptyCaptionsScoreNothing) {
  const auto scores = score_captions({{"", {"a dog"}}, {"a dog", {"a dog"}}});
  EXPECT_EQ(scores.rouge_l_each[0], 0);
  EXPECT_EQ(scores.cider_each[0], 0);
  EXPECT_THROW(score_captions({}), Error);
  EXPECT_THROW(score_captions({{"a", {}}}), Error);
}

}  // namespace
}  // namespace trireme::worker::evaluation

#include "worker/text/words.h"

#include <gtest/gtest.h>

namespace trireme::worker::text {
namespace {

using Words = std::vector<std::string>;

TEST(Words, SplitsAtSpaceAndPunctuation) {
  EXPECT_EQ(unigrams("It's a  Black-cat,\tisn't it?"),
            (Words{"it", "s", "a", "black", "cat", "isn", "t", "it"}));
  EXPECT_EQ(unigrams("..., ! -- \n"), Words{});
  EXPECT_EQ(unigrams(""), Words{});
  EXPECT_EQ(unigrams("1920x1080"), Words{"1920x1080"});
}

TEST(Words, AccentsAndCaseAreDropped) {
  EXPECT_EQ(unigrams("Naïve CAFÉ e\u0301tude"), (Words{"naive", "cafe", "etude"}));
}

TEST(Words, EveryIdeographIsAWordAndKanaRunsAreOne) {
  EXPECT_EQ(unigrams("東京の犬"), (Words{"東", "京", "の", "犬"}));
  EXPECT_EQ(unigrams("ワンワン"), Words{"ワンワン"});
  EXPECT_EQ(unigrams("สวัสดีครับ").size(), 1u);
}

TEST(Words, ControlsVanishAndUnicodeSpacesSplit) {
  EXPECT_EQ(unigrams(std::string("a\0b", 3)), Words{"ab"});
  EXPECT_EQ(unigrams("a\u200Bb"), Words{"ab"});  // zero-width space is a format character
  EXPECT_EQ(unigrams("a\u00A0b\u3000c"), (Words{"a", "b", "c"}));
  EXPECT_EQ(unigrams("dog\u2014cat \u00ABfox\u00BB"), (Words{"dog", "cat", "fox"}));
  EXPECT_EQ(unigrams("bad\xff\xfe bytes"), (Words{"bad", "bytes"}));
}

TEST(NormalizedText, SameTextSameKey) {
  EXPECT_EQ(normalized_text("  A  Dog\n RUNS "), "a dog runs");
  EXPECT_EQ(normalized_text("cafe\u0301"), normalized_text("CAFÉ"));
  EXPECT_NE(normalized_text("cafe"), normalized_text("café"));
  EXPECT_NE(normalized_text("a dog."), normalized_text("a dog"));
  for (const char* text : {"İstanbul", "ΌΣΟΣ", "ǅ x", "ﬁsh"}) {
    EXPECT_EQ(normalized_text(normalized_text(text)), normalized_text(text)) << text;
  }
}

}  // namespace
}  // namespace trireme::worker::text

#include "worker/spotting/overlap.h"

#include <gtest/gtest.h>

namespace trireme::worker::spotting {
namespace {

TEST(Overlap, CasesOfMethods10_7) {
  EXPECT_EQ(longest_common_characters("SALE 50% OFF", "big sale 50% off today"), 12);
  EXPECT_EQ(longest_common_characters("SALE", "big sale today"), 4);
  EXPECT_EQ(longest_common_characters("SALES", "big sales"), 5);
}

TEST(Overlap, CharactersNotBytesAndNothing) {
  EXPECT_EQ(longest_common_characters("BRÜCKE", "die alte brücke"), 6);
  EXPECT_EQ(longest_common_characters("", "words"), 0);
  EXPECT_EQ(longest_common_characters("words", ""), 0);
  EXPECT_EQ(longest_common_characters("abc", "xyz"), 0);
  EXPECT_GE(longest_common_characters("\xff\xfe broken", "broken"), 6);
}

}  // namespace
}  // namespace trireme::worker::spotting

#include "worker/text/tokenizers/caption_words.h"

#include <gtest/gtest.h>

#include <fstream>

namespace trireme::worker::text {
namespace {

std::string joined(const std::string& caption) {
  std::string out;
  for (const auto& word : caption_words(caption)) out += (out.empty() ? "" : " ") + word;
  return out;
}

// tests/oracles/record_caption_words.py
TEST(CaptionWords, ArePycocoevalcaps) {
  std::ifstream file(TRIREME_SOURCE_DIR "/tests/golden/caption_words.txt");
  ASSERT_TRUE(file);
  int captions = 0;
  for (std::string caption, words; std::getline(file, caption) && std::getline(file, words); ++captions) {
    ASSERT_EQ(caption.substr(0, 2) + words.substr(0, 2), "T W ") << caption;
    EXPECT_EQ(joined(caption.substr(2)), words.substr(2)) << caption;
  }
  EXPECT_GE(captions, 61);
}

TEST(CaptionWords, AnyBytesAreRead) {
  EXPECT_EQ(joined(""), "");
  EXPECT_EQ(joined(" \n\t "), "");
  EXPECT_EQ(joined("a dog\nruns"), "a dog runs");
  EXPECT_EQ(joined("caf\xc3\xa9 \xff\xfe dog"), "caf\xc3\xa9 dog");
  EXPECT_EQ(joined(std::string("a\0b", 3)), "a b");
  const std::string hyphens(20000, '-'), letters(20000, 'x'), pairs = [] {
    std::string text;
    for (int i = 0; i < 5000; ++i) text += "a.";
    return text;
  }();
  EXPECT_EQ(joined(letters), letters);
  EXPECT_EQ(joined(hyphens).size() + joined(pairs).size(), joined(hyphens).size() + pairs.size());
}

}  // namespace
}  // namespace trireme::worker::text

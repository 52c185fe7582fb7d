#include "worker/text/caption_cleaning.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace trireme::worker::text {
namespace {

// Expected values: open_clip.tokenizer.get_clean_fn() with ftfy 6.3.1.
TEST(CaptionCleaning, IsOpenClips) {
  EXPECT_EQ(clean_caption("&amp;lt;b&amp;gt; caf&eacute; &#39;quoted&#39; &amp;amp;amp;",
                          jobs::CaptionCleaning::kWhitespace),
            "<b> caf\xc3\xa9 'quoted' &");
  EXPECT_EQ(clean_caption("P&EACUTE;REZ &unknown; &ampx;", jobs::CaptionCleaning::kWhitespace),
            "P\xc3\x89REZ &unknown; &x;");
  EXPECT_EQ(clean_caption("\xe2\x80\x9c"
                          "Curly\xe2\x80\x9d  \xe2\x80\x98quotes\xe2\x80\x99",
                          jobs::CaptionCleaning::kLower),
            "\"curly\" 'quotes'");
  EXPECT_EQ(clean_caption("A dog's  __Best__ day!", jobs::CaptionCleaning::kCanonicalize), "a dogs best day");
  EXPECT_EQ(clean_caption("re\xcc\x81sume\xcc\x81  A&amp;B", jobs::CaptionCleaning::kPlain),
            "r\xc3\xa9sum\xc3\xa9 a&amp;b");
  // transformers 5.24: SiglipTokenizer.canonicalize_text().
  EXPECT_EQ(clean_caption(" A dog's\t__Best_one__  day! &amp; \xe2\x80\x9cR\xc3\x89"
                          "D\xe2\x80\x9d",
                          jobs::CaptionCleaning::kUnpunctuated),
            "a dogs bestone day amp \xe2\x80\x9cr\xc3\xa9"
            "d\xe2\x80\x9d");
  EXPECT_EQ(clean_caption(" A&amp; ", jobs::CaptionCleaning::kUnset), " A&amp; ");
}

}  // namespace
}  // namespace trireme::worker::text

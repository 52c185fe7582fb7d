#include "common/io/base64.h"

#include <gtest/gtest.h>

namespace trireme::io {
namespace {

TEST(Base64, VectorsOfRfc4648) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64(std::string("\xff\x00\xfe", 3)), "/wD+");
}

TEST(Base64, ReadsWhatItWroteAndNothingElse) {
  for (const std::string& bytes : {std::string(), std::string("f"), std::string("fo"), std::string("foo"),
                                   std::string("\xff\x00\xfe\x01", 4)})
    EXPECT_EQ(from_base64(base64(bytes)), bytes);
  for (const char* bad : {"A", "AAA", "AA=A", "A===", "A\n==", "Zm9v ", "Z%9v", "====",
                          "Zm9vZg=="
                          "="})
    EXPECT_FALSE(from_base64(bad).has_value()) << bad;
}

}  // namespace
}  // namespace trireme::io

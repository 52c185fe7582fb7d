#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/nearest_name.h"

namespace trireme {
namespace {

TEST(NearestName, FindsTyposAndNothingElse) {
  EXPECT_EQ(nearest_name("epocs", {"epochs", "steps", "seed"}), "epochs");
  EXPECT_EQ(nearest_name("learning_rte", {"learning_rate", "warmup_steps"}), "learning_rate");
  EXPECT_EQ(nearest_name("zzzzzz", {"epochs", "steps"}), "");
}

TEST(Printable, EscapesControlAndBadBytesAndKeepsUtf8) {
  EXPECT_EQ(printable("a\nb"), "a\\x0ab");
  EXPECT_EQ(printable("naïve 東京"), "naïve 東京");
  EXPECT_EQ(printable("\xff\xfe"), "\\xff\\xfe");
  // C1 controls, bidirectional overrides and isolates, line separators, a byte order mark; joiners stay.
  EXPECT_EQ(printable("a\xc2\x9b"
                      "2J"),
            "a\\xc2\\x9b2J");
  EXPECT_EQ(printable("\u202egpj.exe"), "\\xe2\\x80\\xaegpj.exe");
  for (const char* hidden : {"\u200f", "\u2028", "\u202a", "\u2066", "\u2069", "\ufeff", "\u061c"})
    EXPECT_EQ(printable(hidden)[0], '\\') << hidden;
  EXPECT_EQ(printable("\u200d\u00a0é"), "\u200d\u00a0é");
  EXPECT_EQ(printable(std::string(100, 'x'), 10), std::string(10, 'x') + "…");
}

TEST(Error, KindsHaveNamesAndExitCodes) {
  for (const auto kind :
       {ErrorKind::kUsage, ErrorKind::kDamaged, ErrorKind::kCancelled, ErrorKind::kTryAgain})
    EXPECT_EQ(error_kind_from_name(name_of(kind)), kind);
  EXPECT_EQ(exit_code(ErrorKind::kDamaged), 65);
  EXPECT_THROW(error_kind_from_name("nonsense"), Error);
}

}  // namespace
}  // namespace trireme

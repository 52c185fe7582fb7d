#include "jobs/store/metrics_token.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::store {
namespace {

TEST(MetricsToken, IsReadOrRefusedByName) {
  const io::Path file = io::Path(::testing::TempDir()) / ("token-" + std::to_string(::getpid()));
  const auto read = [&](const std::string& text, unsigned mode) {
    io::remove_file(file);
    io::write_file_atomic(file, text, false, mode);
    return read_metrics_token(file.string());
  };
  EXPECT_EQ(read_metrics_token(""), "");
  EXPECT_EQ(read("0123456789abcdef-._~+/=\n", 0640), "0123456789abcdef-._~+/=");
  EXPECT_THROW(read("0123456789abcdef\n", 0644), Error) << "everybody may read it";
  EXPECT_THROW(read("0123456789abcde\n", 0600), Error) << "too short";
  EXPECT_THROW(read("0123456789 abcdef\n", 0600), Error) << "a blank would split the header";
  EXPECT_THROW(read("", 0600), Error);
  io::remove_file(file);
  EXPECT_THROW(read_metrics_token(file.string()), Error);
}

}  // namespace
}  // namespace trireme::store

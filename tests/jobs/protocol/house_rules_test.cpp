#include "jobs/protocol/house_rules.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "jobs/protocol/messages.h"

namespace trireme::jobs {
namespace {

TEST(HouseRules, AreToldFromMessages) {
  const std::string bytes = encode_rules({7, 3, {"/data", "/more"}, {"/runs"}, {"/runs/service"}});
  const auto rules = decode_rules(bytes);
  ASSERT_TRUE(rules);
  EXPECT_EQ(rules->run, 7U);
  EXPECT_EQ(rules->incarnation, 3U);
  EXPECT_EQ(rules->read, (std::vector<std::string>{"/data", "/more"}));
  EXPECT_EQ(rules->write, std::vector<std::string>{"/runs"});
  EXPECT_EQ(rules->never, std::vector<std::string>{"/runs/service"});
  EXPECT_FALSE(decode_rules(encode({7, {3}, Ping{}})));
  EXPECT_THROW(decode(bytes), Error);
  for (std::size_t end = 14; end < bytes.size(); ++end)
    EXPECT_THROW(decode_rules(std::string_view(bytes).substr(0, end)), Error) << end;
}

}  // namespace
}  // namespace trireme::jobs

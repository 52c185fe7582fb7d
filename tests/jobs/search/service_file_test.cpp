#include "jobs/search/service_file.h"

#include <filesystem>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "common/base/host_name.h"

namespace trireme::jobs {
namespace {

class ServiceFileTest : public ::testing::Test {
 protected:
  ServiceFileTest() { std::filesystem::create_directories(run_); }
  ~ServiceFileTest() override { std::filesystem::remove_all(run_); }

  static ServiceFile service_of(std::int64_t pid, const std::string& host = host_name()) {
    return {"http://127.0.0.1:1", pid, host, "mine", ""};
  }
  std::int64_t announced() const { return read_service_file(run_).value_or(ServiceFile{}).pid; }

  const io::Path run_ =
      std::filesystem::temp_directory_path() / ("trireme-service-file-" + std::to_string(::getpid()));
};

TEST_F(ServiceFileTest, AServiceIsAnnouncedAgainWhenTheOtherHasGone) {
  const ServiceFile own = service_of(::getpid());
  EXPECT_TRUE(announce_again(run_, own));
  EXPECT_EQ(announced(), ::getpid());
  write_service_file(run_, service_of(::getppid()));  // another that lives
  EXPECT_FALSE(announce_again(run_, own));
  remove_service_file(run_, ::getpid());  // is not ours
  EXPECT_EQ(announced(), ::getppid());
  remove_service_file(run_, ::getppid());
  EXPECT_TRUE(announce_again(run_, own));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  write_service_file(run_, service_of(child));  // killed: nobody removed it
  EXPECT_TRUE(announce_again(run_, own));
  EXPECT_EQ(announced(), ::getpid());
  write_service_file(run_, service_of(child, "elsewhere"));  // may live there
  EXPECT_FALSE(announce_again(run_, own));
  remove_service_file(run_, child);
  EXPECT_EQ(announced(), child);
}

TEST_F(ServiceFileTest, ADamagedOneIsNone) {
  for (const char* text :
       {"", "[]", R"({"format":"trireme-search-service","version":1,"url":1,"pid":"x"})"}) {
    io::write_file_atomic(run_ / "search-service.json", text, false);
    EXPECT_FALSE(read_service_file(run_)) << text;
    EXPECT_TRUE(announce_again(run_, service_of(::getpid())));
    EXPECT_EQ(announced(), ::getpid());
  }
}

}  // namespace
}  // namespace trireme::jobs

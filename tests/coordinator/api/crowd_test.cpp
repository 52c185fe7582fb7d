// Many clients at once: who waits for whom, who is refused, and who never is.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <list>
#include <memory>
#include <thread>

#include "common/io/file.h"
#include "common/io/folder.h"
#include "coordinator/api/server.h"
#include "tests/coordinator/api/fake_face.h"
#include "tests/coordinator/api/raw_client.h"
#include "tests/support/eventually.h"

namespace trireme::coordinator::api {
namespace {

class CrowdTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = io::temporary_folder() / ("trireme-crowd-" + std::to_string(::getpid()));
    io::make_folders(folder_ / "service/logs");
    io::write_file_atomic(folder_ / "service/logs/rank-0.log", "a line\n");
    options_.run_folder = folder_ / "service";
    options_.follow_poll = std::chrono::milliseconds(50);
    for (const char* id : {"job-1", "job-slow"}) face_.set_state(id, "RUNNING");
  }
  void TearDown() override {
    face_.let_go();
    server_.reset();
    io::remove_tree(folder_);
  }
  void start() {
    server_ = std::make_unique<Server>(face_, options_);
    token_ = io::read_file(options_.run_folder / "token");
    token_.pop_back();
  }
  std::string request(const std::string& method, const std::string& target, const std::string& body = "",
                      bool close = true) const {
    return method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + token_ +
           "\r\n" + (close ? "Connection: close\r\n" : "") +
           "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           body;
  }
  int ask(const std::string& method, const std::string& target, const std::string& body = "") const {
    RawClient client(server_->port());
    client.send(request(method, target, body));
    return status_of_answer(client.read());
  }
  // Sent, and waiting for its answer.
  RawClient& leave_waiting(const std::string& bytes) {
    RawClient& client = waiting_.emplace_back(server_->port());
    client.send(bytes);
    return client;
  }
  static std::size_t descriptors() { return io::list_folder("/proc/self/fd").size(); }

  FakeFace face_;
  ServerOptions options_;
  io::Path folder_;
  std::string token_;
  std::unique_ptr<Server> server_;
  std::list<RawClient> waiting_;
};

TEST_F(CrowdTest, ReadersOfLogsKeepNobodyWaitingAndEndWithTheirReaders) {
  start();
  const std::size_t before = descriptors();
  for (int i = 0; i < 40; ++i)
    EXPECT_NE(leave_waiting(request("GET", "/api/v1/jobs/job-1/logs?follow=1")).read("a line").find("200 OK"),
              std::string::npos);
  EXPECT_EQ(ask("GET", "/healthz"), 200);
  EXPECT_EQ(ask("GET", "/api/v1/jobs/job-1"), 200);
  EXPECT_EQ(ask("POST", "/api/v1/jobs/job-1:cancel"), 200);
  face_.set_state("job-1", "RUNNING");
  waiting_.clear();
  const auto gone = std::chrono::steady_clock::now();
  EXPECT_TRUE(trireme::testing::eventually([&] { return descriptors() <= before; }));
  EXPECT_LT(std::chrono::steady_clock::now() - gone, std::chrono::seconds(2));
}

TEST_F(CrowdTest, FollowersHaveALimitOfTheirOwn) {
  options_.most_followers = 3;
  start();
  for (int i = 0; i < 3; ++i)
    leave_waiting(request("GET", "/api/v1/jobs/job-1/logs?follow=1")).read("a line");
  EXPECT_EQ(ask("GET", "/api/v1/jobs/job-1/logs?follow=1"), 429);
  EXPECT_EQ(ask("GET", "/api/v1/jobs/job-1/logs"), 200);
}

TEST_F(CrowdTest, HealthIsNeverRefusedAndARefusalIsRead) {
  options_.most_connections = options_.most_connections_per_address = 4;
  start();
  face_.held = true;
  for (int i = 0; i < 4; ++i) leave_waiting(request("GET", "/api/v1/jobs/job-slow"));
  EXPECT_TRUE(trireme::testing::eventually([&] { return ask("GET", "/api/v1/jobs/job-1") == 429; }));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(ask("GET", "/healthz"), 200);
  face_.let_go();
  for (RawClient& client : waiting_) EXPECT_EQ(status_of_answer(client.read()), 200);
  EXPECT_TRUE(trireme::testing::eventually([&] { return ask("GET", "/api/v1/jobs/job-1") == 200; }));
}

TEST_F(CrowdTest, WhoJustCameAndAsksNothingKeepsNobodyOut) {
  options_.most_connections = options_.most_connections_per_address = 4;
  start();
  for (int i = 0; i < 8; ++i) waiting_.emplace_back(server_->port());
  const auto asked = std::chrono::steady_clock::now();
  EXPECT_EQ(ask("GET", "/api/v1/jobs/job-1"), 200);
  EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(2));
}

TEST_F(CrowdTest, PlansHaveAQueueOfTheirOwn) {
  options_.most_plans = 2;
  start();
  face_.held = true;
  for (int i = 0; i < 2; ++i) leave_waiting(request("POST", "/api/v1/plan", "{}"));
  EXPECT_TRUE(trireme::testing::eventually([&] { return ask("POST", "/api/v1/plan", "{}") == 429; }));
  EXPECT_EQ(ask("GET", "/api/v1/jobs/job-1"), 200);
  EXPECT_EQ(ask("POST", "/api/v1/jobs", "{}"), 201);
  face_.let_go();
  for (RawClient& client : waiting_) EXPECT_EQ(status_of_answer(client.read()), 200);
}

TEST_F(CrowdTest, AnAcceptedSubmitIsAnswered) {
  options_.most_connections = options_.most_connections_per_address = 6;
  start();
  std::atomic<int> created{0}, refused{0}, lost{0};
  std::list<std::thread> clients;
  for (int thread = 0; thread < 24; ++thread)
    clients.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        const int status = ask("POST", "/api/v1/jobs", "{}");
        ++(status == 201 ? created : status == 429 ? refused : lost);
      }
    });
  for (auto& client : clients) client.join();
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(face_.submits, created);
  EXPECT_EQ(created + refused, 240);
}

}  // namespace
}  // namespace trireme::coordinator::api

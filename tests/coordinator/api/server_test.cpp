#include "coordinator/api/server.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "common/io/file.h"
#include "coordinator/api/endpoints.h"
#include "tests/coordinator/api/fake_face.h"
#include "tests/coordinator/api/raw_client.h"
#include "tests/support/eventually.h"

namespace trireme::coordinator::api {
namespace {

using std::chrono::milliseconds;

std::string resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmRSS:", 0) == 0) return line.substr(6);
  return "0";
}

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("trireme-api-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "service");
    options_.run_folder = folder_ / "service";
    options_.run_id = "run-1";
    options_.incarnation = Incarnation{3};
    options_.data_roots = {folder_ / "data"};
    start();
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start() {
    server_.reset();
    server_ = std::make_unique<Server>(face_, options_);
    token_ = io::read_file(options_.run_folder / "token");
    token_.pop_back();
  }
  std::string head(const std::string& method, const std::string& target, const std::string& more = "") const {
    return method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + more;
  }
  std::string bearer() const { return "Authorization: Bearer " + token_ + "\r\n"; }
  std::string ask(const std::string& bytes) const {
    RawClient client(server_->port());
    client.send(bytes);
    return client.read();
  }
  std::string post(const std::string& target, const std::string& body, const std::string& more = "") const {
    return ask(head("POST", target,
                    bearer() + "Content-Type: application/json\r\nContent-Length: " +
                        std::to_string(body.size()) + "\r\n" + more) +
               "\r\n" + body);
  }
  std::string get(const std::string& target) const { return ask(head("GET", target, bearer()) + "\r\n"); }

  FakeFace face_;
  ServerOptions options_;
  io::Path folder_;
  std::string token_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, WritesEndpointAndPrivateToken) {
  struct stat status {};
  ASSERT_EQ(::stat((options_.run_folder / "token").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_EQ(token_.size(), 64U);
  const std::string endpoint = io::read_file(options_.run_folder / "endpoint.json");
  EXPECT_NE(endpoint.find(server_->url()), std::string::npos);
  EXPECT_NE(endpoint.find("\"incarnation\":3"), std::string::npos);
  const std::string before = token_;
  start();
  EXPECT_EQ(token_, before);  // kept over restarts
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(options_.run_folder / "endpoint.json"));
}

// F59: every path times every method times every kind of token, closed by default.
TEST_F(ServerTest, EveryRouteAndMethodIsGuarded) {
  face_.set_state("job-9", "RUNNING");
  face_.report_file = (folder_ / "report.html").string();
  io::write_file_atomic(face_.report_file, "<p>report</p>");
  const std::vector<std::string> methods{"GET",  "POST",    "PUT",   "DELETE", "PATCH",
                                         "HEAD", "OPTIONS", "TRACE", "BREW"};
  const std::vector<std::string> tokens{"", "Authorization: Bearer " + std::string(64, 'a') + "\r\n",
                                        "Authorization: Basic " + token_ + "\r\n",
                                        "Authorization: Bearer \r\n", bearer()};
  for (const Endpoint& one : endpoints()) {
    std::string path(one.pattern);
    if (const auto hole = path.find("{id}"); hole != std::string::npos) path.replace(hole, 4, "job-9");
    for (const std::string& method : methods) {
      for (std::size_t kind = 0; kind < tokens.size(); ++kind) {
        const Match match = match_endpoint(method, parse_target(path));
        const bool good = kind + 1 == tokens.size();
        const std::string body = method == "POST" ? "{}" : "";
        const std::string more = tokens[kind] + "Content-Type: application/json\r\nContent-Length: " +
                                 std::to_string(body.size()) + "\r\n\r\n" + body;
        const int status = status_of_answer(ask(head(method, path, more)));
        const std::string what = method + " " + path + " token " + std::to_string(kind);
        if (!match.open && !good) {
          EXPECT_EQ(status, 401) << what;
        } else if (match.endpoint == nullptr) {
          EXPECT_EQ(status, 405) << what;
        } else {
          EXPECT_TRUE(status >= 200 && status < 300) << what << " " << status;
        }
      }
    }
  }
  EXPECT_EQ(status_of_answer(ask(head("GET", "/api/v1/jobs?token=" + token_) + "\r\n")), 401);
  EXPECT_EQ(status_of_answer(ask(head("GET", "/nothing") + "\r\n")), 401);
  EXPECT_EQ(status_of_answer(get("/nothing")), 404);
  EXPECT_EQ(status_of_answer(get("/api/v1/jobs/job-404")), 404);
  EXPECT_EQ(status_of_answer(get("/api/v1/jobs/..%2f..%2fetc")), 404);
  EXPECT_EQ(status_of_answer(ask(head("GET", "http://elsewhere/healthz", bearer()) + "\r\n")), 400);
}

// F60: what a web page could make a browser send.
TEST_F(ServerTest, BrowsersAndForeignHostsAreRefused) {
  const auto with = [&](const std::string& host, const std::string& more) {
    return status_of_answer(
        ask("GET /api/v1/jobs HTTP/1.1\r\n" + host + "Connection: close\r\n" + bearer() + more + "\r\n"));
  };
  const std::string own = "Host: 127.0.0.1:80\r\n";
  EXPECT_EQ(with(own, ""), 200);
  EXPECT_EQ(with("Host: LOCALHOST:1\r\n", ""), 200);
  EXPECT_EQ(with("Host: [::1]:8\r\n", ""), 200);
  EXPECT_EQ(with("Host: evil.example\r\n", ""), 403);
  EXPECT_EQ(with("Host: 127.0.0.1.evil.example\r\n", ""), 403);
  EXPECT_EQ(with("", ""), 400);
  EXPECT_EQ(with(own + own, ""), 400);
  EXPECT_EQ(with(own, "Origin: http://evil\r\n"), 403);
  EXPECT_EQ(with(own, "Origin: null\r\n"), 403);
  EXPECT_EQ(with(own, "Sec-Fetch-Site: cross-site\r\n"), 403);
  EXPECT_EQ(with(own, "Sec-Fetch-Site: none\r\n"), 200);
  const auto typed = [&](const std::string& type) {
    return status_of_answer(
        ask(head("POST", "/api/v1/jobs", bearer() + type + "Content-Length: 2\r\n\r\n{}")));
  };
  EXPECT_EQ(typed("Content-Type: text/plain\r\n"), 415);
  EXPECT_EQ(typed(""), 415);
  EXPECT_EQ(typed("Content-Type: application/json; charset=utf-8\r\n"), 201);
  EXPECT_EQ(face_.submits, 1);
}

// F53, F54.
TEST_F(ServerTest, IdempotencyKeyMakesOneJob) {
  const std::string first = post("/api/v1/jobs", "{}", "Idempotency-Key: k1\r\n");
  EXPECT_EQ(status_of_answer(first), 201);
  EXPECT_NE(first.find("Location: /api/v1/jobs/job-1\r\n"), std::string::npos);
  EXPECT_EQ(status_of_answer(post("/api/v1/jobs", "{}", "Idempotency-Key: k1\r\n")), 200);
  const std::string reused = post("/api/v1/jobs", "{ }", "Idempotency-Key: k1\r\n");
  EXPECT_EQ(status_of_answer(reused), 422);
  EXPECT_NE(reused.find("key_reused"), std::string::npos);
  EXPECT_EQ(status_of_answer(post("/api/v1/jobs", "{}", "Idempotency-Key: a b\r\n")), 400);
  EXPECT_EQ(
      status_of_answer(post("/api/v1/jobs", "{}", "Idempotency-Key: " + std::string(300, 'k') + "\r\n")),
      400);

  std::vector<std::thread> clients;
  std::vector<std::string> answers(50);
  for (std::size_t i = 0; i < answers.size(); ++i)
    clients.emplace_back([&, i] {
      EXPECT_TRUE(trireme::testing::eventually([&] {
        answers[i] = post("/api/v1/jobs", "{}", "Idempotency-Key: k2\r\n");
        return status_of_answer(answers[i]) / 100 == 2;
      }));
    });
  for (auto& client : clients) client.join();
  for (const auto& answer : answers) EXPECT_EQ(body_of(answer), "{\"id\":\"job-2\",\"state\":\"QUEUED\"}");
  EXPECT_EQ(face_.jobs(), 2U);
}

TEST_F(ServerTest, FaultsComeAsProblemJson) {
  const std::string answer = post("/api/v1/jobs", "{\"bad\":1}");
  EXPECT_EQ(status_of_answer(answer), 422);
  EXPECT_NE(answer.find("application/problem+json"), std::string::npos);
  EXPECT_NE(answer.find("\"pointer\":\"/bad\""), std::string::npos);
  EXPECT_NE(answer.find("did you mean 'name'?"), std::string::npos);
  EXPECT_NE(answer.find("\"request_id\":\"r3-"), std::string::npos);
}

TEST_F(ServerTest, ErrorKindsBecomeStatusCodes) {
  face_.set_state("job-1", "RUNNING");
  const std::vector<std::pair<ErrorKind, int>> table{
      {ErrorKind::kConflict, 409}, {ErrorKind::kDiskFull, 507}, {ErrorKind::kUnavailable, 503},
      {ErrorKind::kTryAgain, 503}, {ErrorKind::kInvalid, 422},  {ErrorKind::kInternal, 500},
      {ErrorKind::kDamaged, 500},  {ErrorKind::kUsage, 400}};
  for (const auto& [kind, status] : table) {
    face_.failure = kind;
    EXPECT_EQ(status_of_answer(get("/api/v1/jobs/job-1")), status) << name_of(kind);
  }
  face_.failure.reset();
  face_.is_ready = false;
  const std::string answer = ask(head("GET", "/readyz") + "\r\n");
  EXPECT_EQ(status_of_answer(answer), 503);
  EXPECT_NE(answer.find("no worker yet"), std::string::npos);
  EXPECT_NE(answer.find("Retry-After"), std::string::npos);
  EXPECT_EQ(status_of_answer(ask(head("GET", "/healthz") + "\r\n")), 200);
}

TEST_F(ServerTest, QueryNumbersAreChecked) {
  EXPECT_NE(get("/api/v1/jobs?state=RUNNING&limit=7&page_token=a%20b").find("\"limit\":7,\"token\":\"a b\""),
            std::string::npos);
  for (const char* limit : {"0", "501", "x", "-1", "1e3", "99999999999999999999", ""})
    EXPECT_EQ(status_of_answer(get(std::string("/api/v1/jobs?limit=") + limit)), 400) << limit;
  EXPECT_EQ(status_of_answer(get("/api/v1/jobs?limit=%zz")), 400);
  EXPECT_EQ(status_of_answer(get("/api/v1/jobs?limit=%00")), 400);
}

// F58.
TEST_F(ServerTest, OversizedHeadersAndBodiesAreCut) {
  EXPECT_EQ(status_of_answer(ask(head("GET", "/healthz", "X: " + std::string(9000, 'x') + "\r\n\r\n"))), 431);
  EXPECT_EQ(
      status_of_answer(ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(1 << 20, 'x'))),
      431);
  EXPECT_EQ(status_of_answer(ask(
                head("POST", "/api/v1/jobs",
                     bearer() + "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{"))),
            413);
  const std::string large(2U << 20, ' ');
  EXPECT_EQ(status_of_answer(post("/api/v1/jobs", large)), 413);
  EXPECT_EQ(status_of_answer(ask("\x16\x03\x01 nonsense\r\n\r\n")), 400);
  EXPECT_EQ(
      status_of_answer(
          ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")),
      400);
  EXPECT_EQ(face_.submits, 0);
}

TEST_F(ServerTest, ChunkedBodiesOfOneByteAndPipelining) {
  std::string chunks;
  for (const char c : std::string("{\"name\":\"x\"}")) chunks += std::string("1\r\n") + c + "\r\n";
  EXPECT_EQ(status_of_answer(
                ask(head("POST", "/api/v1/jobs",
                         bearer() + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" +
                             chunks + "0\r\n\r\n"))),
            201);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
  many += "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  RawClient client(server_->port());
  std::string answers;
  std::thread reader([&] { answers = client.read(); });  // both directions, so that nobody's buffer fills up
  client.send(many);
  reader.join();
  int count = 0;
  for (std::size_t at = 0; (at = answers.find("HTTP/1.1 200", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 1001);
}

// F57.
TEST_F(ServerTest, SlowClientsAreCutAndNeverLockOthersOut) {
  options_.header_deadline = milliseconds(300);
  start();
  RawClient slow(server_->port());
  slow.send("GET /healthz HTTP/1.1\r\n");
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(slow.read(), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, milliseconds(2000));

  options_.header_deadline = milliseconds(60000);
  start();
  std::vector<std::unique_ptr<RawClient>> attackers;
  for (int i = 0; i < 200; ++i) {
    attackers.push_back(std::make_unique<RawClient>(server_->port()));
    attackers.back()->send("G");
    if (i % 20 == 0) {
      EXPECT_EQ(status_of_answer(ask(head("GET", "/healthz") + "\r\n")), 200) << i;
    }
  }
  EXPECT_EQ(attackers.front()->read(), "");  // the oldest was cut to make room
}

TEST_F(ServerTest, FollowedLogsStreamUntilTheJobEnds) {
  options_.follow_poll = milliseconds(20);
  options_.follow_heartbeat = milliseconds(200);
  start();
  face_.set_state("job-1", "RUNNING");
  io::LineAppender log(options_.run_folder / "logs" / "rank-0.log");
  log.append("one");
  log.append("two");
  EXPECT_EQ(body_of(get("/api/v1/jobs/job-1/logs")), "one\ntwo\n");
  EXPECT_EQ(body_of(get("/api/v1/jobs/job-1/logs?tail=1")), "two\n");
  EXPECT_EQ(body_of(get("/api/v1/jobs/job-1/logs?rank=5")), "");
  EXPECT_EQ(status_of_answer(get("/api/v1/jobs/job-2/logs?follow=1")), 404);
  RawClient client(server_->port());
  client.send(head("GET", "/api/v1/jobs/job-1/logs?follow=1", bearer()) + "\r\n");
  EXPECT_NE(client.read("two\n").find("chunked"), std::string::npos);
  log.append("three");
  client.read("three\n");
  client.read("1\r\n\n\r\n");  // the sign of life
  face_.set_state("job-1", "SUCCEEDED");
  EXPECT_NE(client.read().find("0\r\n\r\n"), std::string::npos);
}

TEST_F(ServerTest, FollowersEndWhenTheServerStops) {
  face_.set_state("job-1", "RUNNING");
  RawClient client(server_->port());
  client.send(head("GET", "/api/v1/jobs/job-1/logs?follow=1", bearer()) + "\r\n");
  client.read("\r\n\r\n");
  server_.reset();
  client.read();
}

TEST_F(ServerTest, AddressesAreCheckedBeforeListening) {
  const auto kind_of = [&](const std::string& listen, bool token) {
    ServerOptions options = options_;
    options.run_folder = folder_ / "other";
    options.listen = listen;
    options.require_token = token;
    try {
      Server server(face_, options);
    } catch (const Error& error) {
      return std::string(name_of(error.kind()));
    }
    return std::string("ok");
  };
  EXPECT_EQ(kind_of("127.0.0.1:" + std::to_string(server_->port()), true), "conflict");
  EXPECT_EQ(kind_of("0.0.0.0:0", false), "usage");
  EXPECT_EQ(kind_of("127.0.0.1:0", false), "ok");
  for (const char* bad : {"", "8080", ":80", "nohost:80", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x"})
    EXPECT_EQ(kind_of(bad, true), "usage") << bad;
  EXPECT_EQ(kind_of("203.0.113.7:0", true), "usage");  // this host has no such address
  io::write_file_atomic(folder_ / "other" / "token", std::string(64, 'a') + "\n", false, 0644);
  EXPECT_EQ(kind_of("127.0.0.1:0", true), "invalid");
}

TEST_F(ServerTest, MemoryStaysSmallUnderGarbage) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need memory of their own";
#endif
  const long before = std::stol(resident_kib());
  for (int i = 0; i < 50; ++i) ask(std::string(300000, static_cast<char>(i + 1)));
  EXPECT_LT(std::stol(resident_kib()) - before, 16 * 1024);
}

}  // namespace
}  // namespace trireme::coordinator::api

// The client against a socket that plays back answers and keeps what it was asked.
#include "coordinator/cli/client/api_client.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "tests/coordinator/cli/playback.h"

namespace trireme::coordinator::cli {
namespace {

TEST(ApiClient, SendsTheTokenAndTheKeyAndRepeatsThroughARestart) {
  Playback server(
      {"", answer("503 Loading", "{\"detail\":\"loading\"}"), answer("201 Created", "{\"id\":\"j\"}")});
  const ApiClient client(server.folder);
  EXPECT_EQ(client.post("/api/v1/jobs", "{}", "k1"), "{\"id\":\"j\"}");
  ASSERT_EQ(server.asked.size(), 3U);
  for (const auto& request : server.asked) {
    EXPECT_EQ(request.rfind("POST /api/v1/jobs HTTP/1.1\r\n", 0), 0U);
    EXPECT_NE(request.find("Authorization: Bearer secret\r\n"), std::string::npos);
    EXPECT_NE(request.find("Idempotency-Key: k1\r\n"), std::string::npos);
    EXPECT_NE(request.find("Content-Type: application/json\r\n"), std::string::npos);
  }
}

TEST(ApiClient, ProblemsBecomeErrorsWithEveryFault) {
  const std::vector<std::pair<std::string, int>> table{
      {"401 x", 5}, {"403 x", 5}, {"404 x", 3}, {"409 x", 4}, {"422 x", 2}, {"507 x", 75}, {"500 x", 1}};
  for (const auto& [status, code] : table) {
    Playback server({answer(
        status,
        R"({"detail":"two faults","errors":[{"pointer":"/a","detail":"wrong","hint":"mend it"},{"pointer":"/b","detail":"bad"}]})")});
    try {
      ApiClient(server.folder, std::chrono::milliseconds(0)).get("/x");
      FAIL() << status;
    } catch (const Error& error) {
      EXPECT_EQ(exit_code(error.kind()), code) << status;
      EXPECT_EQ(std::string(error.what()), "two faults\n  /a: wrong (mend it)\n  /b: bad");
    }
  }
}

TEST(ApiClient, StreamsChunksAsTheyCome) {
  Playback server(
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n"});
  std::string text;
  ApiClient(server.folder).stream("/logs", [&](std::string_view piece) {
    text += piece;
    return true;
  });
  EXPECT_EQ(text, "one\ntwo\n");
}

TEST(ApiClient, NobodyThereIsUnreachable) {
  const auto code_of = [](const io::Path& folder) {
    try {
      ApiClient(folder, std::chrono::milliseconds(0)).get("/x");
    } catch (const Error& error) {
      return exit_code(error.kind());
    }
    return 0;
  };
  EXPECT_EQ(code_of("/no/such/run"), 69);
  const io::Path folder =
      std::filesystem::temp_directory_path() / ("trireme-nobody-" + std::to_string(::getpid()));
  io::write_file_atomic(folder / "endpoint.json", "{\"url\":\"http://127.0.0.1:1\"}", false);
  EXPECT_EQ(code_of(folder), 69);
  io::write_file_atomic(folder / "endpoint.json", "{\"url\":\"ftp://x\"}", false);
  EXPECT_EQ(code_of(folder), 65);
  std::filesystem::remove_all(folder);
}

TEST(Url, EscapesEverythingUnusual) {
  EXPECT_EQ(url_escaped("a-B_1.~"), "a-B_1.~");
  EXPECT_EQ(url_escaped("../a b/é"), "..%2Fa%20b%2F%C3%A9");
  EXPECT_NE(random_key(), random_key());
  EXPECT_EQ(random_key().size(), 32U);
}

}  // namespace
}  // namespace trireme::coordinator::cli

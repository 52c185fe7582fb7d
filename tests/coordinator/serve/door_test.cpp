#include "coordinator/serve/door.h"

#include <gtest/gtest.h>

namespace trireme::coordinator::serve {
namespace {

http::Request head(const std::string& method, const std::string& target,
                   std::multimap<std::string, std::string> headers = {}) {
  http::Request request{method, target, "", "r1", std::move(headers)};
  if (request.headers.count("host") == 0) request.headers.emplace("host", "127.0.0.1:8080");
  if (method == "POST" && request.headers.count("content-type") == 0)
    request.headers.emplace("content-type", "application/json");
  return request;
}

int status(const Door& door, const http::Request& request) {
  const Admission admission = door.admit(request);
  return admission.refused ? admission.refused->status : 200;
}

const std::vector<std::string> kHosts{"localhost", "127.0.0.1"};

TEST(DoorTest, RefusesWhatComesFromElsewhere) {
  const Door door(kHosts, "");
  EXPECT_EQ(status(door, head("POST", "/api/v1/search")), 200);
  EXPECT_EQ(status(door, head("POST", "/api/v1/search", {{"origin", "http://127.0.0.1:8080"}})), 200);
  for (const char* origin : {"http://127.0.0.1:8081", "http://localhost:8080", "https://127.0.0.1:8080",
                             "null", "", "http://127.0.0.1:8080.evil.example"})
    EXPECT_EQ(status(door, head("POST", "/api/v1/search", {{"origin", origin}})), 403) << origin;
  EXPECT_EQ(status(door, head("POST", "/api/v1/search",
                              {{"origin", "http://127.0.0.1:8080"}, {"origin", "http://127.0.0.1:8080"}})),
            403);
  for (const char* host : {"evil.example", "127.0.0.1.evil.example:8080", ""})
    EXPECT_EQ(status(door, head("GET", "/", {{"host", host}})), 403) << host;
  EXPECT_EQ(status(door, head("GET", "/api/v1/indexes",
                              {{"sec-fetch-site", "cross-site"}, {"sec-fetch-mode", "navigate"}})),
            403);
  EXPECT_EQ(status(door, head("GET", "/?text=1:a",
                              {{"sec-fetch-site", "cross-site"}, {"sec-fetch-mode", "navigate"}})),
            200);
  EXPECT_EQ(status(door, head("GET", "/", {{"sec-fetch-site", "same-site"}})), 403);
}

TEST(DoorTest, WithATokenOnlyThreeAddressesAreOpen) {
  Door door(kHosts, std::string(64, 'a'));
  for (const Route& route : routes()) {
    std::string path(route.pattern);
    if (const auto at = path.find("{index}"); at != std::string::npos) path.replace(at, 7, "run");
    if (const auto at = path.find("{id}"); at != std::string::npos) path.replace(at, 4, "0123.4");
    const bool open = path == "/healthz" || path == "/readyz" || path == "/enter";
    EXPECT_EQ(route.open, open) << path;
    for (const char* method : {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
      EXPECT_EQ(status(door, head(method, path)), open && method == route.method ? 200 : 401)
          << method << path;
    const std::string method(route.method);
    EXPECT_EQ(status(door, head(method, path, {{"authorization", "Bearer " + std::string(64, 'a')}})), 200)
        << path;
    EXPECT_EQ(status(door, head(method, path, {{"authorization", "Bearer " + std::string(63, 'a')}})),
              open ? 200 : 401);
  }
  EXPECT_EQ(status(door, head("GET", "/nothing")), 401);
}

TEST(DoorTest, AKeyOpensOnce) {
  Door door(kHosts, std::string(64, 'a'));
  const std::string key = door.new_key();
  EXPECT_FALSE(door.enter("").has_value());
  EXPECT_FALSE(door.enter(std::string(64, '0')).has_value());
  const auto cookie = door.enter(key);
  ASSERT_TRUE(cookie.has_value());
  EXPECT_FALSE(door.enter(key).has_value());
  const std::string pair = cookie->substr(0, cookie->find(';'));
  EXPECT_EQ(status(door, head("GET", "/", {{"cookie", pair}})), 200);
  EXPECT_EQ(status(door, head("GET", "/", {{"cookie", "other=1; " + pair + "; more=2"}})), 200);
  for (const std::string& bad :
       {std::string("trireme_search="), "x" + pair, pair + "0", std::string("trireme_search")})
    EXPECT_EQ(status(door, head("GET", "/", {{"cookie", bad}})), 401) << bad;
}

TEST(DoorTest, PathsAreNarrow) {
  const Door door(kHosts, "");
  const Admission item = door.admit(head("GET", "/api/v1/items/my-run/0123456789abcdef.7"));
  ASSERT_NE(item.route, nullptr);
  EXPECT_EQ(item.index, "my-run");
  EXPECT_EQ(item.id, "0123456789abcdef.7");
  for (const char* path :
       {"/api/v1/items/run", "/api/v1/items/run/", "/api/v1/items//x", "/api/v1/items/../x",
        "/api/v1/items/run/a%2fb", "/api/v1/items/run/x/y", "//", "/search.js/", "/SEARCH.JS"})
    EXPECT_EQ(status(door, head("GET", path)), 404) << path;
  EXPECT_EQ(status(door, head("GET", "/enter?key=%zz")), 400);
  const Admission wrong = door.admit(head("GET", "/api/v1/search"));
  ASSERT_TRUE(wrong.refused.has_value());
  EXPECT_EQ(wrong.refused->status, 405);
  EXPECT_EQ(status(door, head("POST", "/api/v1/search", {{"content-type", "text/plain"}})), 415);
  EXPECT_EQ(status(door, head("POST", "/knn-service", {{"content-type", "text/plain"}})), 200);
}

}  // namespace
}  // namespace trireme::coordinator::serve

// Who may ask a search service, decided from the header alone (RELIABILITY 5, amended): its routes only read.
// On loopback they are open; elsewhere they want the token, or a cookie that a link sets once. Pages of the
// service itself may call it (same Origin), others never.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/http/messages.h"
#include "common/http/target.h"

namespace trireme::coordinator::serve {

enum class Action {
  kPage,
  kScript,
  kStyle,
  kOpenApi,
  kHealth,
  kReady,
  kMetrics,
  kIndexes,
  kSearch,
  kEmbed,
  kItem,
  kThumbnail,
  kKnn,
  kMetadata,
  kIndicesList,
  kEnter,
  kLink
};

struct Route {
  Action action;
  std::string_view method;
  std::string_view pattern;  // "{index}" and "{id}" stand for one part of the path
  bool open = false;         // answered without token or cookie
  bool json = false;         // Content-Type: application/json is required
};
const std::vector<Route>& routes();

struct Admission {
  std::optional<http::Response> refused;
  const Route* route = nullptr;
  http::Target target;
  std::string index, id;
};

class Door {
 public:
  // `hosts`: names that Host may have, without port, lower case. `token`: "" leaves the door open.
  Door(std::vector<std::string> hosts, std::string token);

  Admission admit(const http::Request& head) const;
  bool is_open() const { return token_.empty(); }

  // A key that opens the door once.
  std::string new_key();
  // The cookie of a fresh visit when the key was good, and the key is used up.
  std::optional<std::string> enter(const std::string& key);

 private:
  std::optional<http::Response> foreign(const http::Request& head, const Route* route) const;
  bool may_enter(const http::Request& head) const;

  std::vector<std::string> hosts_;
  std::string token_;
  std::set<std::string> keys_, visits_;
};

}  // namespace trireme::coordinator::serve

// The coordinator of one run folder over HTTP: finds address and token, waits out restarts, turns
// problem+json into errors.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "common/io/file.h"

namespace trireme::coordinator::cli {

class ApiClient {
 public:
  // `patience`: how long a coordinator that is not (yet, or again) there is waited for.
  explicit ApiClient(io::Path run_folder, std::chrono::milliseconds patience = std::chrono::seconds(5));

  std::string get(const std::string& target) const;
  // Safe to repeat: the same Idempotency-Key gives the same job. `key` may be empty for calls that are
  // idempotent by themselves.
  std::string post(const std::string& target, const std::string& json_body,
                   const std::string& key = "") const;
  // Pieces of an answer as they come, until the server ends it or `sink` says false.
  void stream(const std::string& target, const std::function<bool(std::string_view)>& sink) const;

 private:
  template <class Call>
  auto patiently(Call call) const;
  io::Path run_folder_;
  std::chrono::milliseconds patience_;
};

// A path segment or query value, %-escaped.
std::string url_escaped(std::string_view text);
std::string random_key();  // 32 hex digits

}  // namespace trireme::coordinator::cli

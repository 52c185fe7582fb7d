#include "coordinator/cli/client/api_client.h"

#include <cctype>
#include <random>
#include <thread>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "coordinator/cli/client/http_client.h"
#include "coordinator/cli/client/json_members.h"
#include "coordinator/cli/launch/run_files.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {
namespace {

ErrorKind kind_of(int status) {
  switch (status) {
    case 401:
    case 403:
      return ErrorKind::kUnauthorised;
    case 404:
      return ErrorKind::kNotFound;
    case 409:
      return ErrorKind::kConflict;
    case 429:
    case 503:
      return ErrorKind::kTryAgain;
    case 507:
      return ErrorKind::kDiskFull;
    default:
      return status >= 400 && status < 500 ? ErrorKind::kInvalid : ErrorKind::kInternal;
  }
}

// The detail and every fault of a problem document, for people.
std::string explained(const HttpAnswer& answer) {
  const auto document = nlohmann::json::parse(answer.body, nullptr, false);
  if (!document.is_object()) return "the server answered " + std::to_string(answer.status);
  std::string text = text_of(document, "detail");
  const auto errors = document.find("errors");
  if (errors == document.end() || !errors->is_array()) return text;
  for (const auto& error : *errors) {
    if (!error.is_object()) continue;
    text += "\n  " + printable(text_of(error, "pointer")) + ": " + printable(text_of(error, "detail"));
    if (const std::string hint = text_of(error, "hint"); !hint.empty()) text += " (" + printable(hint) + ")";
  }
  return text;
}

HttpCall call_to(const io::Path& run_folder) {
  const EndpointFile endpoint = read_endpoint(run_folder);
  HttpCall call;
  call.host = endpoint.host;
  call.port = endpoint.port;
  const io::Path token_file = store::RunPaths{run_folder}.token();
  if (io::exists(token_file)) {
    std::string token = io::read_file(token_file, 4096);
    token.erase(token.find_last_not_of(" \r\n") + 1);
    call.headers["Authorization"] = "Bearer " + token;
  }
  return call;
}

std::string body_or_error(HttpAnswer answer) {
  if (answer.status >= 200 && answer.status < 300) return std::move(answer.body);
  throw Error(kind_of(answer.status), explained(answer));
}

}  // namespace

ApiClient::ApiClient(io::Path run_folder, std::chrono::milliseconds patience)
    : run_folder_(std::move(run_folder)), patience_(patience) {}

template <class Call>
auto ApiClient::patiently(Call call) const {
  const auto until = std::chrono::steady_clock::now() + patience_;
  for (;;) {
    try {
      return call(call_to(run_folder_));  // read again: a restarted coordinator has another port
    } catch (const Error& error) {
      const bool passing = error.kind() == ErrorKind::kUnavailable || error.kind() == ErrorKind::kTryAgain;
      if (!passing || std::chrono::steady_clock::now() >= until) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

std::string ApiClient::get(const std::string& target) const {
  return patiently([&](HttpCall call) {
    call.target = target;
    return body_or_error(http_call(call));
  });
}

std::string ApiClient::post(const std::string& target, const std::string& json_body,
                            const std::string& key) const {
  return patiently([&](HttpCall call) {
    call.method = "POST";
    call.target = target;
    call.body = json_body;
    call.headers["Content-Type"] = "application/json";
    if (!key.empty()) call.headers["Idempotency-Key"] = key;
    return body_or_error(http_call(call));
  });
}

void ApiClient::stream(const std::string& target, const std::function<bool(std::string_view)>& sink) const {
  bool begun = false;  // what was handed out is not fetched again
  patiently([&](HttpCall call) {
    call.target = target;
    try {
      const HttpAnswer answer = http_stream(call, [&](std::string_view piece) {
        begun = true;
        return sink(piece);
      });
      if (answer.status != 200) throw Error(kind_of(answer.status), explained(answer));
    } catch (const Error& error) {
      if (!begun) throw;
      throw Error(ErrorKind::kInternal, error.what(), "the coordinator went away while it was sending");
    }
    return true;
  });
}

std::string url_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += "0123456789ABCDEF"[byte >> 4];
      out += "0123456789ABCDEF"[byte & 15];
    }
  }
  return out;
}

std::string random_key() {
  std::random_device device;
  const auto word = [&] { return (std::uint64_t{device()} << 32) | device(); };
  return io::hex(word()) + io::hex(word());
}

}  // namespace trireme::coordinator::cli

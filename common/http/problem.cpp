#include "common/http/problem.h"

#include <array>
#include <nlohmann/json.hpp>

namespace trireme::http {
namespace {

using nlohmann::ordered_json;

struct Title {
  int status;
  std::string_view text;
};
constexpr std::array<Title, 18> kTitles{{{200, "OK"},
                                         {201, "Created"},
                                         {400, "Bad Request"},
                                         {401, "Unauthorized"},
                                         {403, "Forbidden"},
                                         {404, "Not Found"},
                                         {405, "Method Not Allowed"},
                                         {409, "Conflict"},
                                         {411, "Length Required"},
                                         {413, "Payload Too Large"},
                                         {415, "Unsupported Media Type"},
                                         {422, "Unprocessable Entity"},
                                         {429, "Too Many Requests"},
                                         {431, "Request Header Fields Too Large"},
                                         {500, "Internal Server Error"},
                                         {501, "Not Implemented"},
                                         {503, "Service Unavailable"},
                                         {507, "Insufficient Storage"}}};

// Whatever a fault quotes may not be UTF-8.
std::string dumped(const ordered_json& document) {
  return document.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string_view title_of(int status) {
  for (const Title& title : kTitles)
    if (title.status == status) return title.text;
  return "Error";
}

Response problem(int status, const std::string& detail, const std::string& request_id,
                 const std::vector<Fault>& faults) {
  ordered_json errors = ordered_json::array();
  for (const auto& fault : faults)
    errors.push_back(
        {{"pointer", fault.pointer}, {"code", fault.code}, {"detail", fault.detail}, {"hint", fault.hint}});
  Response response{status, "application/problem+json",
                    dumped({{"type", "about:blank"},
                            {"title", title_of(status)},
                            {"status", status},
                            {"detail", detail},
                            {"request_id", request_id},
                            {"errors", errors}})};
  if (status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"trireme\"");
  if (status == 429 || status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

int status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return 400;
    case ErrorKind::kInvalid:
      return 422;
    case ErrorKind::kNotFound:
      return 404;
    case ErrorKind::kConflict:
    case ErrorKind::kCancelled:
      return 409;
    case ErrorKind::kUnauthorised:
      return 401;
    case ErrorKind::kUnavailable:
    case ErrorKind::kTryAgain:
      return 503;
    case ErrorKind::kDiskFull:
      return 507;
    case ErrorKind::kDamaged:
    case ErrorKind::kInternal:
      break;
  }
  return 500;
}

}  // namespace trireme::http

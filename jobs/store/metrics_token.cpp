#include "jobs/store/metrics_token.h"

#include <algorithm>
#include <string_view>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::store {

std::string read_metrics_token(const std::string& file) {
  if (file.empty()) return "";
  if (!io::exists(file))
    throw Error(ErrorKind::kNotFound, "the metrics token " + file + " is not there",
                "make one: (umask 027; openssl rand -hex 32 > FILE), where every host sees it");
  if ((io::status_of(file).mode & 07) != 0)
    throw Error(ErrorKind::kInvalid, "the metrics token " + file + " may be read by everybody",
                "chmod 640 it, with the group of Prometheus");
  std::string token = io::read_file(file, 4096);
  token.erase(std::min(token.size(), token.find_first_of("\r\n")));
  constexpr std::string_view kMarks = "-._~+/=";  // RFC 6750
  const bool printable = std::all_of(token.begin(), token.end(), [&](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (token.size() < 16 || !printable)
    throw Error(ErrorKind::kInvalid, "the metrics token " + file + " is no token",
                "one line of at least 16 letters, digits or -._~+/=");
  return token;
}

}  // namespace trireme::store

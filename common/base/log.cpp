#include "common/base/log.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <mutex>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"

namespace trireme {
namespace {
struct LogState {
  std::mutex mutex;
  std::string process = "trireme";
  LogLevel least = LogLevel::kInfo;
  int console = -1;  // the stderr of before redirect_log_to_folder
};
LogState& state() {
  static LogState instance;
  return instance;
}
constexpr std::array<const char*, 4> kNames{"DEBUG", "INFO ", "WARN ", "ERROR"};

// Length of the valid UTF-8 sequence at the front of `text`, 0 when it is not one.
std::size_t utf8_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const std::size_t length = first < 0x80                    ? 1
                             : first >= 0xC2 && first < 0xE0 ? 2
                             : first >= 0xE0 && first < 0xF0 ? 3
                             : first >= 0xF0 && first < 0xF5 ? 4
                                                             : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 0;
  return length;
}
// Control characters, C1 among them, and what reorders or hides the text around it (CVE-2021-42574).
bool misleads(std::string_view character) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return byte(0) < 0x20 || byte(0) == 0x7F;
  if (character.size() == 2)
    return (byte(0) == 0xC2 && byte(1) < 0xA0) || (byte(0) == 0xD8 && byte(1) == 0x9C);
  if (character.size() != 3) return false;
  const unsigned code = (byte(0) & 0x0FU) << 12 | (byte(1) & 0x3FU) << 6 | (byte(2) & 0x3FU);
  return (code >= 0x200E && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF;
}
}  // namespace

void start_log(std::string process_name, LogLevel least) {
  const std::lock_guard lock(state().mutex);
  state().process = std::move(process_name);
  state().least = least;
}

void redirect_log_to_folder(const std::string& folder, int rank) {
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST)
    throw system_error("cannot make the folder " + folder, errno);
  const std::string path = folder + "/rank-" + std::to_string(rank) + ".log";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) throw system_error("cannot open " + path, errno);
  const std::lock_guard lock(state().mutex);
  if (state().console < 0) state().console = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  ::dup2(file, STDERR_FILENO);
  ::dup2(file, STDOUT_FILENO);
  ::close(file);
}

std::string printable(std::string_view text, std::size_t limit_bytes) {
  std::string out;
  while (!text.empty() && out.size() < limit_bytes) {
    const std::size_t length = utf8_length(text);
    if (length == 0 || misleads(text.substr(0, length))) {
      const std::size_t bytes = std::max<std::size_t>(1, length);
      for (std::size_t i = 0; i < bytes; ++i) {
        std::array<char, 5> escaped{};
        std::snprintf(escaped.data(), escaped.size(), "\\x%02x", static_cast<unsigned char>(text[i]));
        out += escaped.data();
      }
      text.remove_prefix(bytes);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  if (!text.empty()) out += "…";
  return out;
}

std::string utc_now() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t whole = std::chrono::system_clock::to_time_t(now);
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm parts{};
  gmtime_r(&whole, &parts);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<int>(milliseconds));
  return text.data();
}

void log_line(LogLevel level, std::string_view component, std::string_view message) {
  const std::lock_guard lock(state().mutex);
  if (level < state().least) return;
  const std::string line = utc_now() + " " + kNames[static_cast<std::size_t>(level)] + " " + state().process +
                           " " + std::string(component) + ": " + printable(message) + "\n";
  [[maybe_unused]] auto written = ::write(STDERR_FILENO, line.data(), line.size());
  if (state().console >= 0 && level >= LogLevel::kWarning)
    written = ::write(state().console, line.data(), line.size());
}

}  // namespace trireme

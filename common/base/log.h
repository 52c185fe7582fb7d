// One log line per event on stderr (mpirun and the supervisor collect it per rank):
//   2026-01-31T12:00:00.123Z INFO  worker/2 train: resumed at step 40
// Lines are cut at 8 KiB and control characters are escaped. Thread-safe. No captions, tokens or secrets
// belong here.
#pragma once

#include <string>
#include <string_view>

namespace trireme {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Names this process in every line ("coordinator", "worker/2") and drops lines below `least`. Called once, by
// app.
void start_log(std::string process_name, LogLevel least = LogLevel::kInfo);

// Sends this process's stderr (log lines, library messages, sanitizer reports) to <folder>/rank-<rank>.log,
// appended, and stdout with it. Warnings and errors still reach the old stderr too. Called by app right after
// MPI_Init when TRIREME_LOG_DIR is set (trireme launch sets it); throws what open(2) says.
void redirect_log_to_folder(const std::string& folder, int rank);

void log_line(LogLevel level, std::string_view component, std::string_view message);
inline void log_info(std::string_view component, std::string_view message) {
  log_line(LogLevel::kInfo, component, message);
}
inline void log_warning(std::string_view component, std::string_view message) {
  log_line(LogLevel::kWarning, component, message);
}
inline void log_error(std::string_view component, std::string_view message) {
  log_line(LogLevel::kError, component, message);
}

// Control characters and invalid UTF-8 as \xNN, cut at `limit_bytes`.
std::string printable(std::string_view text, std::size_t limit_bytes = 8192);

// UTC with milliseconds, for example 2026-01-31T12:00:00.123Z.
std::string utc_now();

}  // namespace trireme

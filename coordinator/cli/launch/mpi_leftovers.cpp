#include "coordinator/cli/launch/mpi_leftovers.h"

#include <cerrno>
#include <charconv>
#include <ctime>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <signal.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::coordinator::cli {
namespace {

constexpr std::int64_t kYoungSeconds = 60;

bool ours_and_old(const io::Path& path) {
  try {
    const auto status = io::status_of(path);
    return status.ours && ::time(nullptr) - status.changed_s > kYoungSeconds;
  } catch (const Error&) {
    return false;
  }
}

pid_t number_of(std::string_view digits) {
  pid_t value = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return code == std::errc() && end == digits.data() + digits.size() ? value : 0;
}

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

// Every segment that a process of ours has mapped; nothing when one of them does not tell.
std::optional<std::set<std::string>> mapped(const io::Path& shared, const io::Path& processes) {
  std::set<std::string> found;
  for (const auto& folder : io::list_folder_if_there(processes)) {
    const pid_t process = number_of(folder.filename().string());
    if (process == 0) continue;
    try {
      io::LineReader lines(folder / "maps");
      for (std::string line; lines.next(line);)
        if (const auto at = line.find(shared.string() + "/"); at != std::string::npos)
          found.insert(line.substr(at));
    } catch (const Error&) {
      if (::kill(process, 0) == 0) return std::nullopt;  // else it is gone, or not ours
    }
  }
  return found;
}

}  // namespace

int sweep_mpi_leftovers(const io::Path& temporary, const io::Path& shared, const io::Path& processes) {
  int removed = 0;
  const std::string host = host_name();
  const io::Path sessions = temporary / ("ompi." + host + "." + std::to_string(::geteuid()));
  for (const auto& folder : io::list_folder_if_there(sessions)) {
    const std::string name = folder.filename().string();
    const pid_t process = name.starts_with("pid.") ? number_of(std::string_view(name).substr(4)) : 0;
    if (process > 0 && ::kill(process, 0) != 0 && errno == ESRCH && ours_and_old(folder))
      removed += io::remove_tree(folder);
  }
  std::vector<io::Path> segments;
  for (const auto& file : io::list_folder_if_there(shared))
    if (file.filename().string().starts_with("vader_segment." + host + ".") && ours_and_old(file))
      segments.push_back(file);
  if (segments.empty()) return removed;
  const auto used = mapped(shared, processes);
  if (!used) return removed;
  for (const auto& segment : segments)
    if (!used->contains(segment.string())) removed += io::remove_file(segment);
  return removed;
}

}  // namespace trireme::coordinator::cli

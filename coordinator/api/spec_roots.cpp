#include "coordinator/api/spec_roots.h"

#include <algorithm>

#include "common/base/log.h"
#include "common/io/folder.h"
#include "jobs/specification/json/names.h"
#include "jobs/specification/spec_paths.h"

namespace trireme::coordinator::api {
namespace {

constexpr std::size_t kLongestPath = 4096;

bool is_sound(const std::string& path) {
  return path.size() <= kLongestPath && path.find('\0') == std::string::npos;
}

std::string listed(const std::vector<io::Path>& roots) {
  std::string text;
  for (const auto& root : roots) text += (text.empty() ? "" : ", ") + root.string();
  return text;
}

}  // namespace

bool is_under(const io::Path& path, const io::Path& root) {
  const auto real = io::real_path(path), real_root = io::real_path(root);
  if (!real || !real_root) return false;
  auto part = real->begin();
  for (const auto& expected : *real_root) {
    if (expected.empty()) continue;  // a trailing slash
    if (part == real->end() || *part != expected) return false;
    ++part;
  }
  return true;
}

std::vector<jobs::SpecFault> paths_outside_roots(jobs::JobSpec job, const std::vector<io::Path>& data_roots,
                                                 const std::vector<io::Path>& output_roots,
                                                 const io::Path& run_folder) {
  std::vector<jobs::SpecFault> faults;
  const auto within = [](const std::string& path, const std::vector<io::Path>& roots) {
    return std::any_of(roots.begin(), roots.end(),
                       [&](const io::Path& root) { return is_under(path, root); });
  };
  for (const jobs::SpecPath& path : jobs::spec_paths(job)) {
    const bool sound = is_sound(*path.value);
    if (sound && is_under(*path.value, run_folder)) {
      jobs::add_fault(faults,
                      {path.pointer, "run_folder",
                       "'" + printable(*path.value, 200) + "' lies in the coordinator's own run folder",
                       "name a folder beside it"});
      continue;
    }
    const auto& roots = path.written ? output_roots : data_roots;
    if (sound && within(*path.value, roots)) continue;
    jobs::add_fault(faults, {path.pointer, "path_outside_roots",
                             "'" + printable(*path.value, 200) +
                                 "' is outside the folders that jobs sent over HTTP may " +
                                 (path.written ? "write" : "read"),
                             "use a path under " + listed(roots) + ", or start the coordinator with " +
                                 (path.written ? "--output-root" : "--data-root")});
  }
  return faults;
}

}  // namespace trireme::coordinator::api

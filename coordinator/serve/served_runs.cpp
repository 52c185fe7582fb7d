#include "coordinator/serve/served_runs.h"

#include <cctype>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::serve {
namespace {

std::string name_of_run(const std::string& run) {
  io::Path folder = io::absolute(run).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  std::string name = folder.filename().string();
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') c = '_';
  return name.empty() || name[0] == '.' ? "index" + name : name;
}

}  // namespace

io::Path manifest_of(const io::Path& run) {
  const io::Path own = store::RunPaths{run}.index() / "manifest.json";
  return io::exists(own) ? own : run / "manifest.json";
}

std::map<std::string, std::string> named_runs(const std::vector<std::string>& runs) {
  std::map<std::string, std::string> named;
  for (const auto& run : runs) {
    if (!io::exists(manifest_of(run)))
      throw Error(ErrorKind::kNotFound, run + " holds no index yet",
                  "name the output folder of a job with an index stage that has ended");
    if (!named.emplace(name_of_run(run), io::absolute(run).string()).second)
      throw Error(ErrorKind::kUsage, "two of the runs are called " + name_of_run(run),
                  "rename one of their folders");
  }
  return named;
}

}  // namespace trireme::coordinator::serve

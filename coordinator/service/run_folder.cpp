#include "coordinator/service/run_folder.h"

#include <cstdlib>

#include <unistd.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"

namespace trireme::coordinator::service {

using nlohmann::json;

RunFolder::RunFolder(const io::Path& folder, std::uint64_t given_incarnation) : path_(folder) {
  io::make_folders(path_);
  incarnation_.value = given_incarnation;
  if (given_incarnation != 0) return;
  lock_ = std::make_unique<io::FileLock>(path_ / "LOCK");
  std::uint64_t last = 0;
  if (std::filesystem::exists(path_ / "incarnation"))
    last = std::strtoull(io::read_file(path_ / "incarnation", 64).c_str(), nullptr, 10);
  incarnation_.value = last + 1;
  io::write_file_atomic(path_ / "incarnation", std::to_string(incarnation_.value) + "\n");
}

void RunFolder::write_terminal(const Terminal& terminal) const {
  const json document{{"format", "trireme-terminal"},      {"version", 1},
                      {"incarnation", incarnation_.value}, {"state", terminal.state},
                      {"reason", terminal.reason},         {"retryable", terminal.retryable},
                      {"exit_code", terminal.exit_code},   {"step", terminal.step},
                      {"progress", terminal.progress}};
  io::write_file_atomic(path_ / "terminal.json",
                        document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

void RunFolder::remove_terminal() const {
  std::error_code ignored;
  std::filesystem::remove(path_ / "terminal.json",
                          ignored);  // the end of an incarnation before; its log has it
}

void RunFolder::write_progress(const std::string& job_document, std::uint64_t sequence,
                               std::int64_t progress) const {
  const std::string text =
      "{\"format\":\"trireme-progress\",\"version\":1,\"incarnation\":" + std::to_string(incarnation_.value) +
      ",\"pid\":" + std::to_string(::getpid()) + ",\"sequence\":" + std::to_string(sequence) +
      ",\"progress\":" + std::to_string(progress) + ",\"time\":\"" + utc_now() +
      "\",\"job\":" + job_document + "}\n";
  io::write_file_atomic(path_ / "progress.json", text, false);
}

}  // namespace trireme::coordinator::service

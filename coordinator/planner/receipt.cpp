#include "coordinator/planner/receipt.h"

#include <filesystem>

#include <nlohmann/json.hpp>

#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/hash.h"

namespace trireme::coordinator::planner {
namespace {
using nlohmann::json;
namespace fs = std::filesystem;

// Size and hash as FORMAT.md defines them for files and folders.
jobs::OutputFile measure(const fs::path& path) {
  jobs::OutputFile found;
  found.path = path.string();
  if (!fs::is_directory(path)) {
    found.bytes = fs::file_size(path);
    found.xxh3 = io::xxh3_of_file(path);
    return found;
  }
  const auto digest = io::digest_of_folder(path);
  found.bytes = digest.bytes;
  found.xxh3 = digest.xxh3;
  return found;
}

}  // namespace

bool find_reusable(const jobs::Task& task, jobs::TaskDone& done) {
  const fs::path receipt_path = task.output + ".receipt.json";
  std::error_code missing;
  if (!fs::exists(receipt_path, missing)) return false;
  try {
    json receipt = json::parse(io::read_file(receipt_path, 64 << 20));
    const std::string claimed = receipt.at("xxh3").get<std::string>();
    receipt.erase("xxh3");
    if (claimed != io::hex(io::xxh3_64(receipt.dump())) || receipt.at("format") != "trireme-receipt" ||
        receipt.at("version") != 2 || receipt.at("address") != task.address ||
        receipt.at("kind") != jobs::name_of(task.kind))
      return false;
    jobs::TaskDone found;
    for (const auto& entry : receipt.at("outputs")) {
      jobs::OutputFile file = measure(receipt_path.parent_path() / entry.at("path").get<std::string>());
      if (file.bytes != entry.at("bytes") || io::hex(file.xxh3) != entry.at("xxh3").get<std::string>()) {
        log_warning("store", file.path + " is not what was written; its task runs again");
        return false;
      }
      file.name = entry.at("name").get<std::string>();
      found.outputs.push_back(std::move(file));
    }
    found.counts = receipt.at("counts").get<std::map<std::string, std::int64_t>>();
    found.summary = receipt.at("summary").dump();
    found.reused = true;
    done = std::move(found);
    return true;
  } catch (const std::exception&) {  // damaged in whatever way: the task runs again
    return false;
  }
}

}  // namespace trireme::coordinator::planner

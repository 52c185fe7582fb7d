#include "jobs/store/receipt.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "common/io/hash.h"

namespace trireme::store {
namespace {
using nlohmann::json;

constexpr int kReceiptVersion = 2;

io::Path receipt_path(const jobs::Task& task) {
  return task.output + ".receipt.json";
}

json receipt_of(const jobs::Task& task, const jobs::TaskDone& done) {
  const io::Path folder = receipt_path(task).parent_path();
  json outputs = json::array();
  for (const auto& output : done.outputs)
    outputs.push_back({{"name", output.name},
                       {"path", io::Path(output.path).lexically_proximate(folder).generic_string()},
                       {"bytes", output.bytes},
                       {"xxh3", io::hex(output.xxh3)}});
  return {{"format", "trireme-receipt"},         {"version", kReceiptVersion}, {"address", task.address},
          {"kind", jobs::name_of(task.kind)},    {"outputs", outputs},         {"counts", done.counts},
          {"summary", json::parse(done.summary)}};
}

// "" when the receipt holds and everything it lists is there, else why not.
std::string check_receipt(const jobs::Task& task, json receipt, jobs::TaskDone& done,
                          const io::FileSystem& files) {
  const std::string claimed = receipt.at("xxh3").get<std::string>();
  receipt.erase("xxh3");
  if (claimed != io::hex(io::xxh3_64(receipt.dump()))) return "its checksum is off";
  if (receipt.at("format") != "trireme-receipt" || receipt.at("version") != kReceiptVersion)
    return "it is of another version";
  if (receipt.at("address") != task.address || receipt.at("kind") != jobs::name_of(task.kind))
    return "it belongs to another task";
  for (const auto& entry : receipt.at("outputs")) {
    const io::Path path = receipt_path(task).parent_path() / entry.at("path").get<std::string>();
    jobs::OutputFile found = describe_output(entry.at("name").get<std::string>(), path.string(), files);
    if (found.bytes != entry.at("bytes") || entry.at("xxh3") != io::hex(found.xxh3))
      return path.string() + " is not what was written";
    done.outputs.push_back(std::move(found));
  }
  done.counts = receipt.at("counts").get<std::map<std::string, std::int64_t>>();
  done.summary = receipt.at("summary").dump();
  return "";
}
}  // namespace

jobs::OutputFile describe_output(const std::string& name, const std::string& path,
                                 const io::FileSystem& files) {
  if (!io::exists(path, files)) throw Error(ErrorKind::kNotFound, "the output " + path + " is not there");
  if (!io::is_folder(path, files)) return {name, path, io::size_of(path, files), io::xxh3_of_file(path)};
  const auto digest = io::digest_of_folder(path);
  return {name, path, digest.bytes, digest.xxh3};
}

void write_receipt(const jobs::Task& task, const jobs::TaskDone& done, const io::FileSystem& files) {
  json receipt;
  try {
    receipt = receipt_of(task, done);
    receipt["xxh3"] = io::hex(io::xxh3_64(receipt.dump()));
  } catch (const json::exception& error) {
    throw Error(ErrorKind::kInternal, "the result of " + task.stage + " makes no receipt: " + error.what());
  }
  io::write_file_atomic(receipt_path(task), receipt.dump() + "\n", true, 0644, files);
}

bool read_receipt(const jobs::Task& task, jobs::TaskDone& done, const io::FileSystem& files) {
  if (task.output.empty() || !io::exists(receipt_path(task), files)) return false;
  jobs::TaskDone found;
  std::string fault;
  try {
    fault =
        check_receipt(task, json::parse(io::read_file(receipt_path(task), 64 << 20, files)), found, files);
  } catch (const std::exception& error) {
    fault = error.what();
  }
  if (!fault.empty()) {
    log_warning("receipt", receipt_path(task).string() + " does not count, the task runs again: " + fault);
    return false;
  }
  found.lease = task.lease;
  found.reused = true;
  done = std::move(found);
  return true;
}

}  // namespace trireme::store

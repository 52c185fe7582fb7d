// Receipts and outputs: the functions that stage.h declares for stages and for the actor.
#include <filesystem>

#include <nlohmann/json.hpp>

#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/hash.h"
#include "worker/runtime/stage.h"

namespace trireme::worker::runtime {
namespace {
using nlohmann::json;
namespace fs = std::filesystem;

constexpr int kReceiptVersion = 2;

fs::path receipt_path(const jobs::Task& task) {
  return task.output + ".receipt.json";
}

json receipt_of(const jobs::Task& task, const jobs::TaskDone& done) {
  const fs::path folder = receipt_path(task).parent_path();
  json outputs = json::array();
  for (const auto& output : done.outputs)
    outputs.push_back({{"name", output.name},
                       {"path", fs::path(output.path).lexically_proximate(folder).generic_string()},
                       {"bytes", output.bytes},
                       {"xxh3", io::hex(output.xxh3)}});
  return {{"format", "trireme-receipt"},         {"version", kReceiptVersion}, {"address", task.address},
          {"kind", jobs::name_of(task.kind)},    {"outputs", outputs},         {"counts", done.counts},
          {"summary", json::parse(done.summary)}};
}

// "" when the receipt holds and everything it lists is there, else why not.
std::string check_receipt(const jobs::Task& task, json receipt, jobs::TaskDone& done) {
  const std::string claimed = receipt.at("xxh3").get<std::string>();
  receipt.erase("xxh3");
  if (claimed != io::hex(io::xxh3_64(receipt.dump()))) return "its checksum is off";
  if (receipt.at("format") != "trireme-receipt" || receipt.at("version") != kReceiptVersion)
    return "it is of another version";
  if (receipt.at("address") != task.address || receipt.at("kind") != jobs::name_of(task.kind))
    return "it belongs to another task";
  for (const auto& entry : receipt.at("outputs")) {
    const fs::path path = receipt_path(task).parent_path() / entry.at("path").get<std::string>();
    jobs::OutputFile found = describe_output(entry.at("name").get<std::string>(), path.string());
    if (found.bytes != entry.at("bytes") || io::hex(found.xxh3) != entry.at("xxh3"))
      return path.string() + " is not what was written";
    done.outputs.push_back(std::move(found));
  }
  done.counts = receipt.at("counts").get<std::map<std::string, std::int64_t>>();
  done.summary = receipt.at("summary").dump();
  return "";
}
}  // namespace

jobs::OutputFile describe_output(const std::string& name, const std::string& path) {
  std::error_code failure;
  const auto status = fs::status(path, failure);
  if (!fs::exists(status)) throw Error(ErrorKind::kNotFound, "the output " + path + " is not there");
  if (!fs::is_directory(status)) return {name, path, fs::file_size(path), io::xxh3_of_file(path)};
  const auto digest = io::digest_of_folder(path);
  return {name, path, digest.bytes, digest.xxh3};
}

void write_receipt(const jobs::Task& task, const jobs::TaskDone& done) {
  json receipt;
  try {
    receipt = receipt_of(task, done);
    receipt["xxh3"] = io::hex(io::xxh3_64(receipt.dump()));
  } catch (const json::exception& error) {
    throw Error(ErrorKind::kInternal, "the result of " + task.stage + " makes no receipt: " + error.what());
  }
  io::write_file_atomic(receipt_path(task), receipt.dump() + "\n");
}

bool read_receipt(const jobs::Task& task, jobs::TaskDone& done) {
  std::error_code failure;
  if (task.output.empty() || !fs::exists(receipt_path(task), failure)) return false;
  jobs::TaskDone found;
  std::string fault;
  try {
    fault = check_receipt(task, json::parse(io::read_file(receipt_path(task), 64 << 20)), found);
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

std::vector<jobs::InputsLine> read_inputs(const jobs::Task& task) {
  std::vector<jobs::InputsLine> lines;
  if (task.inputs_file.empty()) {
    if (task.shard) lines.push_back({task.shard, {}});
    for (const auto& input : task.inputs) lines.push_back({{}, input});
    return lines;
  }
  const std::string text = io::read_file(task.inputs_file);
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    ++number;
    try {
      if (end > at) lines.push_back(jobs::inputs_line_from_json(std::string_view(text).substr(at, end - at)));
    } catch (const Error& error) {
      throw Error(error.kind(), task.inputs_file + ":" + std::to_string(number) + ": " + error.what());
    }
    at = end + 1;
  }
  return lines;
}

}  // namespace trireme::worker::runtime

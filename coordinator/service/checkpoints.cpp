#include "coordinator/service/checkpoints.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/io/hash.h"

namespace trireme::coordinator::service {

using nlohmann::json;

namespace {

std::string step_name(std::int64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "step-%08lld", static_cast<long long>(step));
  return text;
}

// "" or what is wrong with one file of a checkpoint.
std::string file_fault(const io::Path& path, std::uint64_t bytes, std::uint64_t xxh3) {
  std::error_code code;
  const auto size = std::filesystem::file_size(path, code);
  if (code) return path.string() + " is missing";
  if (size != bytes)
    return path.string() + " has " + std::to_string(size) + " bytes instead of " + std::to_string(bytes);
  try {
    if (io::xxh3_of_file(path) != xxh3) return path.string() + " is not what was written (xxh3 differs)";
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string name_in_folder(const jobs::OutputFile& file) {
  return file.name.empty() ? io::Path(file.path).filename().string() : file.name;
}

json manifest_of(const SealOrder& order) {
  const auto& written = order.written;
  json files = json::array();
  for (const auto& file : written.files)
    files.push_back({{"name", name_in_folder(file)}, {"bytes", file.bytes}, {"xxh3", io::hex(file.xxh3)}});
  return {{"format", "trireme-checkpoint"},
          {"version", 1},
          {"run_id", order.run_id},
          {"job", order.job},
          {"stage", order.stage},
          {"address", order.address},
          {"step", written.step},
          {"epoch", written.epoch},
          {"best", written.best},
          {"metric", written.metric},
          {"spec_hash", io::hex(order.spec_hash)},
          {"ledger_sequence", order.ledger_sequence},
          {"incarnation", order.incarnation},
          {"state", json::parse(written.state.empty() ? "{}" : written.state)},
          {"files", std::move(files)}};
}

// A folder of the same name is one that the ledger does not count, or the same step written again.
void put_in_place(const io::Path& aside, const io::Path& place) {
  if (std::filesystem::exists(place)) {
    const io::Path old = place.string() + ".old";
    std::filesystem::remove_all(old);
    io::rename_durably(place, old);
    io::rename_durably(aside, place);
    std::filesystem::remove_all(old);
    return;
  }
  io::rename_durably(aside, place);
}

bool same_series(const ledger::CheckpointRow& row, const io::Path& folder, const std::string& address) {
  return row.state == "committed" && row.address == address && io::Path(row.folder).parent_path() == folder;
}

}  // namespace

ledger::CheckpointRow seal_checkpoint(const SealOrder& order) {
  const auto& written = order.written;
  const io::Path aside = written.folder;
  ledger::CheckpointRow row;
  try {
    for (const auto& file : written.files) {
      const std::string fault = file_fault(aside / name_in_folder(file), file.bytes, file.xxh3);
      if (!fault.empty()) throw Error(ErrorKind::kDamaged, "checkpoint: " + fault);
      row.bytes += file.bytes;
      fault_point("ckpt.after_file_k");
    }
    const std::string manifest = manifest_of(order).dump(1) + "\n";
    io::write_file_atomic(aside / "manifest.json", manifest);
    row.manifest_xxh3 = io::xxh3_64(manifest);
    row.bytes += manifest.size();
    const io::Path place = aside.parent_path() / step_name(written.step);
    fault_point("ckpt.before_rename");
    put_in_place(aside, place);
    row.folder = place.string();
  } catch (const json::exception& failure) {
    throw Error(ErrorKind::kInternal,
                std::string("the gang's checkpoint state is not JSON: ") + failure.what());
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove_all(aside, ignored);
    throw;
  }
  fault_point("ckpt.after_rename_before_commit");
  row.job = order.job;
  row.stage = order.stage;
  row.address = order.address;
  row.step = written.step;
  row.epoch = written.epoch;
  row.incarnation = order.incarnation;
  row.state = "committed";
  row.best = written.best ? 1 : 0;
  row.metric = written.metric;
  return row;
}

std::string checkpoint_fault(const ledger::CheckpointRow& row) {
  const io::Path folder = row.folder;
  try {
    const std::string text = io::read_file(folder / "manifest.json");
    if (io::xxh3_64(text) != row.manifest_xxh3)
      return (folder / "manifest.json").string() + " is not what was committed (xxh3 differs)";
    const json manifest = json::parse(text);
    for (const auto& file : manifest.at("files")) {
      const std::string fault =
          file_fault(folder / file.at("name").get<std::string>(), file.at("bytes"),
                     std::strtoull(file.at("xxh3").get<std::string>().c_str(), nullptr, 16));
      if (!fault.empty()) return fault;
    }
    return "";
  } catch (const json::exception& failure) {
    return (folder / "manifest.json").string() + ": " + failure.what();
  } catch (const Error& error) {
    return error.what();
  }
}

std::vector<ledger::CheckpointRow> resumable(const std::vector<ledger::CheckpointRow>& rows,
                                             const std::string& checkpoint_folder,
                                             const std::string& address) {
  std::vector<ledger::CheckpointRow> found;
  for (const auto& row : rows)
    if (same_series(row, checkpoint_folder, address)) found.push_back(row);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step > b.step; });
  return found;
}

std::vector<ledger::CheckpointRow> superseded(const std::vector<ledger::CheckpointRow>& rows,
                                              const ledger::CheckpointRow& newest, std::int64_t keep_last) {
  const auto all = resumable(rows, io::Path(newest.folder).parent_path().string(), newest.address);
  std::vector<ledger::CheckpointRow> out;
  bool best_kept = false;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool newest_best = all[i].best != 0 && !best_kept;
    best_kept = best_kept || all[i].best != 0;
    if (i >= static_cast<std::size_t>(keep_last) && !newest_best) out.push_back(all[i]);
  }
  return out;
}

std::vector<io::Path> unreferenced(const io::Path& checkpoint_folder,
                                   const std::vector<ledger::CheckpointRow>& rows) {
  std::vector<io::Path> found;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(checkpoint_folder, code)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step-") && !name.starts_with(".tmp-")) continue;
    const bool named = std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
      return row.state == "committed" && io::Path(row.folder) == entry.path();
    });
    if (!named) found.push_back(entry.path());
  }
  return found;
}

ManifestSequence newest_manifest(const io::Path& output, const std::string& run_id) {
  ManifestSequence newest;
  std::error_code code;
  for (const auto& stage : std::filesystem::directory_iterator(output / "ckpt", code))
    for (const auto& step : std::filesystem::directory_iterator(stage.path(), code)) {
      const io::Path path = step.path() / "manifest.json";
      if (!std::filesystem::exists(path)) continue;
      const json manifest = json::parse(io::read_file(path), nullptr, false);
      if (!manifest.is_object() || manifest.value("run_id", run_id) != run_id) continue;
      const auto sequence = manifest.value("ledger_sequence", std::uint64_t{0});
      if (sequence > newest.sequence) newest = {sequence, path.string()};
    }
  return newest;
}

}  // namespace trireme::coordinator::service

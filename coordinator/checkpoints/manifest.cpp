#include "coordinator/checkpoints/manifest.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/store/checkpoint.h"

namespace trireme::coordinator::checkpoints {

using nlohmann::json;

namespace {

// "" or what is wrong with one file of a checkpoint.
std::string file_fault(const io::Path& path, std::uint64_t bytes, std::uint64_t xxh3) {
  if (!io::exists(path)) return path.string() + " is missing";
  try {
    if (const auto size = io::size_of(path); size != bytes)
      return path.string() + " has " + std::to_string(size) + " bytes instead of " + std::to_string(bytes);
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
          {"spec_hash", io::hex(io::xxh3_64(order.spec))},
          {"spec", json::parse(order.spec.empty() ? "{}" : order.spec)},
          {"ledger_sequence", order.ledger_sequence},
          {"incarnation", order.incarnation},
          {"state", json::parse(written.state.empty() ? "{}" : written.state)},
          {"files", std::move(files)}};
}

Manifest parse(const io::Path& folder, const std::string& text) {
  const json document = json::parse(text);
  Manifest manifest;
  manifest.folder = folder;
  manifest.xxh3 = io::xxh3_64(text);
  manifest.bytes = text.size();
  document.at("run_id").get_to(manifest.run_id);
  document.at("job").get_to(manifest.job);
  document.at("stage").get_to(manifest.stage);
  document.at("address").get_to(manifest.address);
  document.at("step").get_to(manifest.step);
  document.at("epoch").get_to(manifest.epoch);
  document.at("best").get_to(manifest.best);
  manifest.metric = document.at("metric").is_number() ? document.at("metric").get<double>() : 0;
  document.at("ledger_sequence").get_to(manifest.ledger_sequence);
  document.at("incarnation").get_to(manifest.incarnation);
  if (document.contains("spec") && !document.at("spec").empty()) manifest.spec = document.at("spec").dump();
  for (const auto& file : document.at("files")) {
    manifest.files.push_back(
        {file.at("name"), file.at("bytes"), io::from_hex(file.at("xxh3").get<std::string>())});
    manifest.bytes += manifest.files.back().bytes;
  }
  return manifest;
}

// Nothing that lies there is replaced: it is of other settings, of another ledger, or damaged evidence.
io::Path free_place(const io::Path& parent, std::int64_t step, const std::string& address) {
  const std::string name = store::checkpoint_name(step);
  io::Path place = parent / name;
  for (int n = 1; io::exists(place); ++n)
    place = parent / (name + "-" + address.substr(0, 8) + (n == 1 ? "" : "-" + std::to_string(n)));
  return place;
}

}  // namespace

std::optional<Manifest> read_manifest(const io::Path& folder) {
  try {
    Manifest manifest = parse(folder, io::read_file(folder / store::kCheckpointManifest, 64U << 20));
    return manifest;
  } catch (const Error&) {
  } catch (const json::exception&) {
  }
  return std::nullopt;
}

std::string fault_of(const Manifest& manifest) {
  for (const auto& file : manifest.files)
    if (std::string fault = file_fault(manifest.folder / file.name, file.bytes, file.xxh3); !fault.empty())
      return fault;
  return "";
}

std::string checkpoint_fault(const ledger::CheckpointRow& row) {
  const io::Path file = io::Path(row.folder) / store::kCheckpointManifest;
  try {
    const std::string text = io::read_file(file, 64U << 20);
    if (io::xxh3_64(text) != row.manifest_xxh3)
      return file.string() + " is not what was committed (xxh3 differs)";
    return fault_of(parse(row.folder, text));
  } catch (const json::exception& failure) {
    return file.string() + ": " + failure.what();
  } catch (const Error& error) {
    return error.what();
  }
}

ledger::CheckpointRow row_of(const Manifest& manifest, ledger::CheckpointState state) {
  ledger::CheckpointRow row;
  row.folder = manifest.folder.string();
  row.job = manifest.job;
  row.stage = manifest.stage;
  row.address = manifest.address;
  row.step = manifest.step;
  row.epoch = manifest.epoch;
  row.manifest_xxh3 = manifest.xxh3;
  row.bytes = manifest.bytes;
  row.incarnation = manifest.incarnation;
  row.state = state;
  row.best = manifest.best ? 1 : 0;
  row.metric = manifest.metric;
  return row;
}

ledger::CheckpointRow seal_checkpoint(const SealOrder& order, const io::FileSystem& files) {
  const auto& written = order.written;
  const io::Path aside = written.folder;
  Manifest manifest;
  try {
    for (const auto& file : written.files) {
      io::appears(aside / name_in_folder(file), files);
      const std::string fault = file_fault(aside / name_in_folder(file), file.bytes, file.xxh3);
      if (!fault.empty()) throw Error(ErrorKind::kDamaged, "checkpoint: " + fault);
      fault_point("ckpt.after_file_k");
    }
    const std::string text = manifest_of(order).dump(1) + "\n";
    io::write_file_atomic(aside / store::kCheckpointManifest, text, true, 0644, files);
    fault_point("ckpt.before_rename");
    manifest = parse(free_place(aside.parent_path(), written.step, order.address), text);
    io::rename_durably(aside, manifest.folder, files);
  } catch (const json::exception& failure) {
    throw Error(ErrorKind::kInternal,
                std::string("the gang's checkpoint state is not JSON: ") + failure.what());
  } catch (...) {
    // Wanted by nobody: the files are not what the gang wrote, or the disk is full; it was never announced.
    io::remove_tree(aside);
    throw;
  }
  fault_point("ckpt.after_rename_before_commit");
  return row_of(manifest, ledger::CheckpointState::kCommitted);
}

}  // namespace trireme::coordinator::checkpoints

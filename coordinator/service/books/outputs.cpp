#include "coordinator/service/books/outputs.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <regex>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "coordinator/ledger/result_json.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::service {

using nlohmann::json;

void write_stage_outputs(const io::Path& output, const std::string& stage,
                         const std::vector<CommittedTask>& tasks) {
  std::string text;
  for (const auto& task : tasks) {
    json line = json::parse(ledger::result_json(task.done));
    line["task"] = task.key;
    json summary = json::parse(task.done.summary, nullptr, false);
    if (!summary.is_discarded()) line["summary"] = std::move(summary);
    text += line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  }
  io::write_file_atomic(store::RunPaths{output}.stage(stage) / "outputs.jsonl", text);
}

void publish_file(const io::Path& from, const io::Path& to, const io::FileSystem& files) {
  io::write_file_atomic(to, io::read_file(from), true, 0644, files);
}

namespace {

// Small enough to be edited by hand: compared by their bytes, others by their size.
constexpr std::uint64_t kEdited = 1U << 20;

// Whether a model or index folder is as it was published: nothing in it but what its manifest lists.
bool as_published(const io::Path& folder) {
  try {
    std::map<std::string, json> listed;
    const json manifest = json::parse(io::read_file(folder / "manifest.json", 64U << 20));
    for (const auto& file : manifest.at("files")) listed[file.at("name")] = file;
    for (const auto& path : io::files_below(folder)) {
      const std::string name = path.lexically_relative(folder).string();
      if (name == "manifest.json") continue;
      const auto found = listed.find(name);
      if (found == listed.end() || io::size_of(path) != found->second.at("bytes").get<std::uint64_t>())
        return false;
      if (io::size_of(path) < kEdited && io::hex(io::xxh3_of_file(path)) != found->second.at("xxh3"))
        return false;
    }
    return true;
  } catch (const std::exception&) {
    return false;  // no manifest: somebody else's
  }
}

// The same of exported tars, which have no manifest: their names.
bool as_exported(const io::Path& folder) {
  if (!io::is_folder(folder)) return false;
  static const std::regex kOurs(R"(\d{5,}(\.tar|_stats\.json)|sizes\.json|subset\.npy)");
  const auto files = io::files_below(folder);
  return std::all_of(files.begin(), files.end(), [&](const io::Path& path) {
    return std::regex_match(path.lexically_relative(folder).string(), kOurs);
  });
}

// The old result goes only once the new one is whole, and only if nothing in it is a person's: its bytes are
// in the store under their own address. Otherwise it stays beside.
void put_in_place(const io::Path& aside, const io::Path& place, bool old_may_go,
                  const io::FileSystem& files = io::disk()) {
  io::sync_folder(aside, files);
  if (!io::exists(place)) return io::rename_durably(aside, place, files);
  io::Path old = place.parent_path() / ("." + place.filename().string() + ".replaced");
  if (old_may_go) {
    io::remove_tree(old);  // ours: of a replacement that was interrupted
  } else {
    for (int n = 1; io::exists(old = place.string() + ".kept-" + std::to_string(n)); ++n) {
    }
    log_warning("service",
                place.string() + " holds files that no run has put there: it is kept as " + old.string());
  }
  io::rename_durably(place, old, files);
  io::rename_durably(aside, place, files);
  if (old_may_go) io::remove_tree(old);
}

io::Path empty_aside(const io::Path& place) {
  io::Path aside = place.parent_path() / ("." + place.filename().string() + ".publishing");
  io::remove_tree(aside);  // ours: half made
  io::make_folders(aside);
  return aside;
}

}  // namespace

void publish_folder(const io::Path& from, const io::Path& to, const io::FileSystem& files) {
  const io::Path aside = empty_aside(to);
  try {
    io::link_or_copy_tree(from, aside, files);
  } catch (const Error&) {
    io::remove_tree(aside);  // ours: half made, and a full disk needs the room
    throw;
  }
  put_in_place(aside, to, as_published(to), files);
}

namespace {

// numpy 1.0 of dtype u8,u8 (FORMATS 3): upper and lower half of each uid, sorted. `uids`: 16 bytes each.
std::string subset_npy(std::vector<std::string> uids) {
  std::sort(uids.begin(), uids.end());
  std::string head = "{'descr': [('f0', '<u8'), ('f1', '<u8')], 'fortran_order': False, 'shape': (" +
                     std::to_string(uids.size()) + ",), }";
  head.resize((head.size() + 10 + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  head += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(head.size() & 255U);
  out += static_cast<char>(head.size() >> 8U);
  out += head;
  for (const auto& uid : uids)
    for (const std::size_t half : {std::size_t{0}, std::size_t{8}})
      for (std::size_t i = 8; i-- > 0;) out += uid[half + i];  // big-endian digits, little-endian numbers
  return out;
}

// Into a folder that is synced and renamed afterwards.
void write_synced(const io::Path& file, std::string_view bytes) {
  io::FileWriter writer(file);
  writer.write(bytes);
  writer.finish();
}

// Shards without a kept sample make no file, so that readers never meet an empty tar; numbers have no gaps.
void publish_export(const io::Path& to, const std::vector<CommittedTask>& tasks) {
  const io::Path aside = empty_aside(to);
  json sizes = json::object();
  std::vector<std::string> uids;
  for (const auto& task : tasks) {
    const auto exported = task.done.counts.find("exported");
    if (exported == task.done.counts.end() || exported->second == 0) continue;
    char name[16];
    std::snprintf(name, sizeof name, "%05zu", sizes.size());
    for (const auto& file : task.done.outputs) {
      if (file.name.empty()) io::link_or_copy(file.path, aside / (std::string(name) + ".tar"));
      if (file.name != jobs::row_of(task.kind).beside) continue;
      const std::string bytes = io::read_file(file.path);
      for (std::size_t at = 0; at + 16 <= bytes.size(); at += 16) uids.push_back(bytes.substr(at, 16));
    }
    sizes[std::string(name) + ".tar"] = exported->second;
    write_synced(aside / (std::string(name) + "_stats.json"),
                 json{{"count", exported->second}, {"successes", exported->second}}.dump() + "\n");
  }
  write_synced(aside / "sizes.json", sizes.dump(1) + "\n");
  if (!uids.empty()) write_synced(aside / "subset.npy", subset_npy(std::move(uids)));
  put_in_place(aside, to, as_exported(to));
}

// What reports read. A stage whose result the store had has no log of its own; one that ran keeps its log
// with times.
void publish_curves(const io::Path& result, const io::Path& to) {
  if (io::exists(result / "signals.json")) publish_file(result / "signals.json", to / "signals.json");
  if (io::exists(result / "log.jsonl") && !io::exists(to / "log.jsonl"))
    publish_file(result / "log.jsonl", to / "log.jsonl");
}

}  // namespace

void publish_stage(const io::Path& output, const std::string& stage, bool last_of_kind,
                   const std::vector<CommittedTask>& tasks) {
  const store::RunPaths run{output};
  bool tars = false;
  for (const auto& task : tasks) {
    const jobs::TaskRow& row = jobs::row_of(task.kind);
    tars = tars || row.published == jobs::Published::kTars;
    for (const auto& file : task.done.outputs) {
      if (!file.name.empty()) continue;
      if (row.published == jobs::Published::kFile) publish_file(file.path, run.stage(stage) / row.place);
      if (row.published != jobs::Published::kFolder) continue;
      publish_curves(file.path, run.stage(stage));
      if (last_of_kind && io::is_folder(file.path)) publish_folder(file.path, output / row.place);
    }
  }
  if (tars) publish_export(run.export_of(stage), tasks);
}

}  // namespace trireme::coordinator::service

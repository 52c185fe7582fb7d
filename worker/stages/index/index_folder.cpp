#include "worker/stages/index/index_folder.h"

#include <unistd.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::stages::index {
namespace {

using nlohmann::ordered_json;

constexpr const char* kHint = "run the index stage again";

std::string dumped(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// Files of the store never change, so that a link is as good as a copy.
void copy_model(const io::Path& from, const io::Path& to) {
  io::make_folders(to);
  for (const auto& file : io::list_folder(from))
    if (io::is_file(file)) io::link_or_copy(file, to / file.filename());
  io::sync_folder(to);
}

std::string items_text(const std::vector<IndexedItem>& items) {
  std::string text;
  for (const auto& item : items) {
    text += dumped({{"key", item.key},
                    {"shard", item.shard},
                    {"sample", item.sample},
                    {"captions", item.captions}}) +
            "\n";
  }
  return text;
}

ordered_json file_entry(const io::Path& folder, const std::string& name) {
  return {{"name", name},
          {"bytes", io::size_of(folder / name)},
          {"xxh3", io::hex(io::xxh3_of_file(folder / name))}};
}

// Files below the folder with their names relative to it, sorted.
std::vector<std::string> files_of(const io::Path& folder) {
  std::vector<std::string> names;
  for (const auto& file : io::files_below(folder))
    names.push_back(file.lexically_relative(folder).generic_string());
  return names;
}

std::string manifest_text(const io::Path& folder, const IndexFolder& index) {
  ordered_json manifest = {{"format", "trireme-index"},       {"version", 1},
                           {"items", index.items.size()},     {"width", index.image_ND.size(1)},
                           {"shards", ordered_json::array()}, {"files", ordered_json::array()}};
  for (const auto& shard : index.shards) {
    manifest["shards"].push_back(
        {{"data", shard.data}, {"path", shard.path}, {"index", shard.index}, {"format", shard.format}});
  }
  for (const auto& name : files_of(folder)) manifest["files"].push_back(file_entry(folder, name));
  return manifest.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

io::Path find_folder(const io::Path& given) {
  for (const auto& folder : {given / "index", given}) {
    if (io::exists(folder / "manifest.json") && io::exists(folder / "items.jsonl")) return folder;
  }
  if (!io::exists(given)) throw Error(ErrorKind::kNotFound, "there is no folder " + given.string());
  throw Error(ErrorKind::kNotFound, given.string() + " holds no index yet",
              "name the output folder of a job with an index stage that has ended, or its index/ folder");
}

void check_files(const io::Path& folder, const ordered_json& manifest) {
  for (const auto& entry : manifest.at("files")) {
    const io::Path path = folder / entry.at("name").get<std::string>();
    const bool same = io::exists(path) && io::size_of(path) == entry.at("bytes").get<std::uint64_t>() &&
                      io::hex(io::xxh3_of_file(path)) == entry.at("xxh3").get<std::string>();
    if (!same) throw Error(ErrorKind::kDamaged, path.string() + " is missing or not what was written", kHint);
  }
}

std::vector<IndexedItem> read_items(const io::Path& path) {
  const std::string text = io::read_file(path);
  std::vector<IndexedItem> items;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const auto row = ordered_json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                                         text.begin() + static_cast<std::ptrdiff_t>(end));
    items.push_back({row.at("key"), row.at("shard"), row.at("sample"), row.at("captions")});
    at = end + 1;
  }
  return items;
}

}  // namespace

void write_index(const io::Path& folder, const IndexFolder& index) {
  const io::Path aside = folder.string() + ".tmp-" + std::to_string(::getpid());
  io::remove_tree(aside);  // half written, by a process of this number that has ended
  io::make_folders(aside);
  checkpoint::write_safetensors(aside / "embeddings.safetensors", {{"image", index.image_ND.contiguous()}},
                                {{"format", "trireme-index"}});
  io::write_file_atomic(aside / "items.jsonl", items_text(index.items));
  copy_model(index.model, aside / "model");
  io::write_file_atomic(aside / "manifest.json", manifest_text(aside, index));
  // What has this address without a valid receipt is half there or damaged; it goes once the new one is in
  // place.
  io::replace_folder(aside, folder);
}

IndexFolder read_index(const io::Path& run_or_index) {
  const io::Path folder = find_folder(run_or_index);
  try {
    const auto manifest = ordered_json::parse(io::read_file(folder / "manifest.json", 1 << 30));
    if (manifest.at("format") != "trireme-index" || manifest.at("version") != 1) {
      throw Error(ErrorKind::kInvalid, folder.string() + " is not an index of version 1", kHint);
    }
    check_files(folder, manifest);
    IndexFolder index;
    for (const auto& shard : manifest.at("shards")) {
      index.shards.push_back({shard.at("data"), shard.at("path"), shard.at("index"), shard.at("format")});
    }
    index.items = read_items(folder / "items.jsonl");
    index.image_ND = checkpoint::SafetensorsFile(folder / "embeddings.safetensors").load("image");
    index.model = folder / "model";
    if (index.image_ND.dim() != 2 ||
        index.image_ND.size(0) != static_cast<std::int64_t>(index.items.size())) {
      throw Error(ErrorKind::kDamaged, folder.string() + ": items.jsonl does not have one line per embedding",
                  kHint);
    }
    for (const auto& item : index.items) {
      if (item.shard < 0 || item.shard >= static_cast<std::int64_t>(index.shards.size())) {
        throw Error(ErrorKind::kDamaged, folder.string() + ": '" + item.key + "' lies in an unknown shard",
                    kHint);
      }
    }
    return index;
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::kDamaged, folder.string() + ": " + error.what(), kHint);
  }
}

}  // namespace trireme::worker::stages::index

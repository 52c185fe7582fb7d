#include "worker/search/manifest.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "common/io/hash.h"

namespace trireme::worker::search {
namespace {

using nlohmann::ordered_json;

ordered_json json_of(const NamedFile& file) {
  return {{"name", file.name}, {"bytes", file.bytes}, {"xxh3", file.xxh3}};
}

NamedFile file_of(const ordered_json& json) {
  NamedFile file{json.at("name"), json.at("bytes"), json.at("xxh3")};
  if (file.name.empty() || file.name[0] == '/' || file.name.find("..") != std::string::npos)
    throw Error(ErrorKind::kDamaged, "an index names a file outside of its folder: " + file.name, kMakeAgain);
  return file;
}

ordered_json json_of(const Promise& promise) {
  return {{"k", 10}, {"queries", promise.queries}, {"probes", promise.probes}, {"recall", promise.recall}};
}

Promise promise_of(const ordered_json& json) {
  return {json.at("queries"), json.at("probes"), json.at("recall")};
}

Manifest manifest_of(const ordered_json& json, const io::Path& folder) {
  Manifest manifest;
  manifest.width = json.at("width");
  manifest.approximate = json.at("search") == "approximate";
  manifest.columns = json.at("columns").get<std::vector<std::string>>();
  for (const auto& shard : json.at("shards"))
    manifest.shards.push_back({shard.at("data"), shard.at("path"), shard.at("index"), shard.at("format")});
  for (const auto& segment : json.at("segments")) {
    manifest.segments.push_back({file_of(segment), segment.at("shard"), segment.at("items")});
    const auto& placed = manifest.segments.back();
    if (placed.shard < 0 || placed.shard >= static_cast<std::int64_t>(manifest.shards.size()) ||
        placed.items < 1)
      throw Error(ErrorKind::kDamaged,
                  folder.string() + ": " + placed.file.name + " lies in an unknown shard", kMakeAgain);
  }
  for (const auto& file : json.at("files")) manifest.files.push_back(file_of(file));
  if (manifest.approximate) {
    manifest.image = promise_of(json.at("recall").at("image"));
    manifest.text = promise_of(json.at("recall").at("text"));
  }
  return manifest;
}

}  // namespace

std::int64_t Manifest::items() const {
  std::int64_t sum = 0;
  for (const auto& segment : segments) sum += segment.items;
  return sum;
}

NamedFile named_file(const io::Path& folder, const std::string& name) {
  return {name, io::size_of(folder / name), io::hex(io::xxh3_of_file(folder / name))};
}

bool is_sound(const io::Path& folder, const NamedFile& file) {
  const io::Path path = folder / file.name;
  return io::exists(path) && io::size_of(path) == file.bytes && io::hex(io::xxh3_of_file(path)) == file.xxh3;
}

void write_manifest(const io::Path& folder, const Manifest& manifest) {
  ordered_json json = {{"format", "trireme-index"},
                       {"version", 2},
                       {"items", manifest.items()},
                       {"width", manifest.width},
                       {"search", manifest.approximate ? "approximate" : "exact"},
                       {"columns", manifest.columns},
                       {"shards", ordered_json::array()},
                       {"segments", ordered_json::array()},
                       {"files", ordered_json::array()}};
  if (manifest.approximate)
    json["recall"] = {{"image", json_of(manifest.image)}, {"text", json_of(manifest.text)}};
  for (const auto& shard : manifest.shards)
    json["shards"].push_back(
        {{"data", shard.data}, {"path", shard.path}, {"index", shard.index}, {"format", shard.format}});
  for (const auto& segment : manifest.segments) {
    json["segments"].push_back(json_of(segment.file));
    json["segments"].back()["shard"] = segment.shard;
    json["segments"].back()["items"] = segment.items;
  }
  for (const auto& file : manifest.files) json["files"].push_back(json_of(file));
  io::write_file_atomic(folder / "manifest.json",
                        json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

Manifest read_manifest(const io::Path& folder) {
  const auto json = ordered_json::parse(io::read_file(folder / "manifest.json", 1 << 30), nullptr, false);
  try {
    if (json.is_object() && json.value("format", "") == "trireme-index" && json.value("version", 0) != 2)
      throw Error(ErrorKind::kInvalid, folder.string() + " is not an index of version 2", kMakeAgain);
    if (json.at("format") != "trireme-index")
      throw Error(ErrorKind::kDamaged, folder.string() + " is no index", kMakeAgain);
    return manifest_of(json, folder);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::kDamaged, (folder / "manifest.json").string() + ": " + error.what(), kMakeAgain);
  }
}

io::Path index_folder(const io::Path& given) {
  for (const auto& folder : {given / "index", given})
    if (io::exists(folder / "manifest.json")) return folder;
  if (!io::exists(given)) throw Error(ErrorKind::kNotFound, "there is no folder " + given.string());
  throw Error(ErrorKind::kNotFound, given.string() + " holds no index yet",
              "name the output folder of a job with an index stage that has ended, or its index/ folder");
}

}  // namespace trireme::worker::search

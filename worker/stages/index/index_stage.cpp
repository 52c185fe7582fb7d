#include "worker/stages/index/index_stage.h"

#include <map>
#include <set>

#include <unistd.h>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/store/receipt.h"
#include "worker/checkpoint/features.h"
#include "worker/search/manifest.h"
#include "worker/search/recall.h"
#include "worker/search/segment.h"
#include "worker/stages/index/build_segment.h"

namespace trireme::worker::stages::index {
namespace {

using nlohmann::ordered_json;
using Task = runtime::OpenTask<jobs::IndexSettings>;
using ShardKey = std::pair<std::string, std::int64_t>;  // data set, position in its manifest

constexpr std::int64_t kHeldBack = 500;  // queries per direction
constexpr double kLeastRecall = 0.95;
constexpr const char* kLists = "lists.safetensors";

// Files of the store never change, so that a link is as good as a copy.
void link_files(const io::Path& from, const io::Path& to) {
  io::make_folders(to);
  for (const auto& file : io::list_folder(from))
    if (io::is_file(file)) io::link_or_copy(file, to / file.filename());
  io::sync_folder(to);
}

// Shards get their numbers in the order in which segments name them.
class ShardTable {
 public:
  ShardTable(const runtime::TaskInputs& inputs, search::Manifest& manifest) : manifest_(manifest) {
    for (const auto& shard : inputs.shards()) shards_[{shard.data, shard.shard}] = shard;
    for (const auto& input : inputs.all(jobs::Role::kShardIndex)) indexes_[{input.data, input.shard}] = input;
  }

  struct Place {
    const jobs::ShardRef* shard;
    const jobs::InputFile* index;
  };
  Place place_of(const ShardKey& key) const {
    const auto shard = shards_.find(key);
    const auto index = indexes_.find(key);
    if (shard == shards_.end() || index == indexes_.end())
      throw Error(ErrorKind::kInternal, "shard " + std::to_string(key.second) + " of data set '" + key.first +
                                            "' has features but no index in the task's inputs");
    return {&shard->second, &index->second};
  }

  std::int64_t number_of(const ShardKey& key) {
    const auto [at, added] = number_.emplace(key, static_cast<std::int64_t>(number_.size()));
    if (!added) return at->second;
    const Place place = place_of(key);
    manifest_.shards.push_back(
        {key.first, place.shard->path, place.index->path, std::string(name_of(place.shard->format))});
    return at->second;
  }

 private:
  search::Manifest& manifest_;
  std::map<ShardKey, jobs::ShardRef> shards_;
  std::map<ShardKey, jobs::InputFile> indexes_;
  std::map<ShardKey, std::int64_t> number_;
};

// The segment of a range, made or found in the store.
std::string stored_segment(const Task& task, const jobs::InputFile& features, const ShardTable::Place& place,
                           jobs::TaskDone& total) {
  jobs::Task made = task.message;
  made.address = io::hex(io::xxh3_128("segment 1\n" + io::hex(features.xxh3) + "\n" +
                                      io::hex(place.index->xxh3) + "\n" + place.shard->sha256));
  made.output = (io::Path(task.output()).parent_path() / "segments" / made.address).string();
  jobs::TaskDone done;
  const std::string path = made.output + ".segment";
  if (store::read_receipt(made, done)) {
    ++total.counts["segments.reused"];
    return path;
  }
  const data::ShardReader reader(place.shard->path, place.index->path);
  done = {};
  done.summary = "{}";
  done.counts["no_direction"] = build_segment(path, features.path, reader);
  done.outputs = {store::describe_output("segment", path)};
  store::write_receipt(made, done);
  total.counts["segments.made"] += 1;
  total.counts["no_direction"] += done.counts["no_direction"];
  return path;
}

// Segments that hold something, linked below `folder` and entered into the manifest.
std::vector<search::Segment> gather_segments(const Task& task, const io::Path& folder,
                                             search::Manifest& manifest, runtime::TaskContext& context,
                                             jobs::TaskDone& total) {
  ShardTable shards(task.inputs, manifest);
  std::vector<search::Segment> segments;
  std::set<std::string> columns;
  const auto files = task.inputs.all(jobs::Role::kFeatures);
  io::make_folders(folder / "segments");
  std::int64_t done = 0;
  for (const auto& input : files) {
    context.stop->throw_if_stopped();
    if (context.progress) context.progress(++done, static_cast<std::int64_t>(files.size()));
    const io::Path stored = stored_segment(task, input, shards.place_of({input.data, input.shard}), total);
    search::Segment segment(stored);
    if (segment.size() == 0) continue;
    const std::string name = "segments/" + stored.filename().string();
    io::link_or_copy(stored, folder / name);
    manifest.segments.push_back(
        {search::named_file(folder, name), shards.number_of({input.data, input.shard}), segment.size()});
    manifest.width = segment.width();
    for (const auto& column : segment.columns()) columns.insert(column);
    segments.push_back(std::move(segment));
  }
  manifest.columns.assign(columns.begin(), columns.end());
  io::sync_folder(folder / "segments");
  return segments;
}

struct HeldBack {
  at::Tensor query_QD;
  std::vector<std::int64_t> own;
};

// Rows of the index, evenly spread: their own row is no answer.
HeldBack held_back_images(const search::ExactIndex& exact) {
  HeldBack held;
  std::vector<at::Tensor> rows;
  const std::int64_t queries = std::min(kHeldBack, exact.size());
  for (std::int64_t i = 0; i < queries; ++i) {
    held.own.push_back(i * exact.size() / queries);
    rows.push_back(exact.row(held.own.back()));
  }
  held.query_QD = at::stack(rows);
  return held;
}

// Captions of the indexed samples, evenly spread over the ranges; every picture may answer them.
HeldBack held_back_texts(const Task& task) {
  HeldBack held;
  std::vector<at::Tensor> rows;
  const auto files = task.inputs.all(jobs::Role::kFeatures);
  const auto ranges = static_cast<std::int64_t>(files.size());
  for (std::int64_t range = 0; range < ranges; ++range) {
    std::int64_t wanted = (range + 1) * kHeldBack / ranges - range * kHeldBack / ranges;
    if (wanted == 0) continue;
    const auto features = checkpoint::read_features(files[static_cast<std::size_t>(range)].path);
    if (!features.text.defined() || features.space != "shared") continue;
    wanted = std::min(wanted, features.text.size(0));
    for (std::int64_t i = 0; i < wanted; ++i)
      rows.push_back(features.text[i * features.text.size(0) / wanted]);
  }
  held.own.assign(rows.size(), -1);
  if (!rows.empty()) held.query_QD = at::stack(rows).contiguous();
  return held;
}

void make_lists(const Task& task, const io::Path& folder, const std::vector<search::Segment>& segments,
                search::Manifest& manifest, runtime::TaskContext& context) {
  const auto poll = [&] { context.stop->throw_if_stopped(); };
  std::vector<search::RowRange> ranges;
  std::int64_t first = 0;
  for (const auto& segment : segments) {
    ranges.push_back({first, segment.rows()});
    first += segment.size();
  }
  search::write_lists(folder / kLists, ranges, poll);
  const search::ExactIndex exact(std::move(ranges));
  const search::Lists lists(folder / kLists, exact.size(), exact.width());
  const auto measured = [&](const HeldBack& held) {
    return search::measured_promise(exact, lists, held.query_QD, held.own, kLeastRecall, poll);
  };
  manifest.image = measured(held_back_images(exact));
  manifest.text = measured(held_back_texts(task));
}

ordered_json summary_of(const search::Manifest& manifest) {
  ordered_json summary = {{"items", manifest.items()}, {"width", manifest.width}};
  if (manifest.approximate)
    summary["recall"] = {{"image", manifest.image.recall}, {"text", manifest.text.recall}};
  return summary;
}

}  // namespace

jobs::TaskDone IndexStage::work(const Task& task, runtime::TaskContext& context) {
  const at::NoGradGuard no_gradients;
  const io::Path folder = task.output(), aside = folder.string() + ".tmp-" + std::to_string(::getpid());
  io::remove_tree(aside);  // half written, by a process of this number that has ended
  io::make_folders(aside);
  search::Manifest manifest;
  jobs::TaskDone result;
  const auto segments = gather_segments(task, aside, manifest, context, result);
  if (segments.empty()) {
    io::remove_tree(aside);
    throw Error(ErrorKind::kInvalid, "stage '" + task.stage() + "' has no embedded image to index",
                "look at the counts of its embed tasks: every image was bad or dropped");
  }
  manifest.approximate = manifest.items() >= lists_from_;
  if (manifest.approximate) make_lists(task, aside, segments, manifest, context);
  link_files(task.inputs.only(jobs::Role::kModel).path, aside / "model");
  for (const auto& file : io::files_below(aside)) {
    const std::string name = file.lexically_relative(aside).generic_string();
    if (!name.starts_with("segments/")) manifest.files.push_back(search::named_file(aside, name));
  }
  search::write_manifest(aside, manifest);
  // What has this address without a valid receipt is half there or damaged; it goes once the new one is in
  // place.
  io::replace_folder(aside, folder);
  result.counts["items"] = manifest.items();
  result.summary = summary_of(manifest).dump();
  return result;
}

}  // namespace trireme::worker::stages::index

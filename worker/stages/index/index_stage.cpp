#include "worker/stages/index/index_stage.h"

#include <map>
#include <set>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/io/folder.h"
#include "common/io/hash.h"
#include "common/io/machine/aside.h"
#include "worker/checkpoint/features.h"
#include "worker/search/manifest.h"
#include "worker/search/recall.h"
#include "worker/search/segment.h"

namespace trireme::worker::stages::index {
namespace {

using nlohmann::ordered_json;
using Task = runtime::OpenTask<jobs::IndexSettings>;
using ShardKey = std::pair<std::string, std::int64_t>;  // data set, position in its manifest

constexpr std::int64_t kHeldBack = 500;      // queries per direction
constexpr std::int64_t kLearntFrom = 20000;  // of each
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

  std::int64_t number_of(const ShardKey& key) {
    const auto [at, added] = number_.emplace(key, static_cast<std::int64_t>(number_.size()));
    if (!added) return at->second;
    const auto shard = shards_.find(key);
    const auto index = indexes_.find(key);
    if (shard == shards_.end() || index == indexes_.end())
      throw Error(ErrorKind::kInternal, "shard " + std::to_string(key.second) + " of data set '" + key.first +
                                            "' has a segment but no index in the task's inputs");
    manifest_.shards.push_back(
        {key.first, shard->second.path, index->second.path, std::string(name_of(shard->second.format))});
    return at->second;
  }

 private:
  search::Manifest& manifest_;
  std::map<ShardKey, jobs::ShardRef> shards_;
  std::map<ShardKey, jobs::InputFile> indexes_;
  std::map<ShardKey, std::int64_t> number_;
};

// Segments that hold something, linked below `folder` and entered into the manifest.
std::vector<search::Segment> gather_segments(const Task& task, const io::Path& folder,
                                             search::Manifest& manifest,
                                             const runtime::TaskContext& context) {
  ShardTable shards(task.inputs, manifest);
  std::vector<search::Segment> segments;
  std::set<std::string> columns;
  const auto files = task.inputs.all(jobs::Role::kSegment);
  io::make_folders(folder / "segments");
  std::int64_t done = 0;
  for (const auto& input : files) {
    context.stop->throw_if_stopped();
    if (context.progress) context.progress(++done, static_cast<std::int64_t>(files.size()));
    search::Segment segment{io::Path(input.path)};
    if (segment.size() == 0) continue;
    const std::string name = "segments/" + io::Path(input.path).filename().string();
    io::link_or_copy(input.path, folder / name);
    manifest.segments.push_back({{name, io::size_of(folder / name), io::hex(input.xxh3)},
                                 shards.number_of({input.data, input.shard}),
                                 segment.size()});
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

// Captions of the indexed samples, evenly spread over the ranges: some are held back as queries, which every
// picture may answer, and the codes learn from others how texts lie.
struct Captions {
  HeldBack held;
  at::Tensor learnt_TD;
};

Captions captions_of(const Task& task) {
  Captions captions;
  std::vector<at::Tensor> rows, learnt;
  const auto files = task.inputs.all(jobs::Role::kFeatures);
  const auto ranges = static_cast<std::int64_t>(files.size());
  for (std::int64_t range = 0; range < ranges; ++range) {
    const auto share = [&](std::int64_t all) { return (range + 1) * all / ranges - range * all / ranges; };
    if (share(kHeldBack) == 0) continue;
    const auto features = checkpoint::read_features(files[static_cast<std::size_t>(range)].path);
    if (!features.text.defined() || features.space != "shared") continue;
    const std::int64_t texts = features.text.size(0), held = std::min(share(kHeldBack), texts);
    std::vector<std::int64_t> others;
    for (std::int64_t i = 0, next = 0; i < texts; ++i)
      if (next < held && i == next * texts / held) {
        rows.push_back(features.text[i]);
        ++next;
      } else if (static_cast<std::int64_t>(others.size()) < share(kLearntFrom)) {
        others.push_back(i);
      }
    if (!others.empty()) learnt.push_back(features.text.index_select(0, at::tensor(others, at::kLong)));
  }
  captions.held.own.assign(rows.size(), -1);
  if (!rows.empty()) captions.held.query_QD = at::stack(rows).contiguous();
  if (!learnt.empty()) captions.learnt_TD = at::cat(learnt);
  return captions;
}

// As pictures and captions will be asked for, to equal parts.
at::Tensor learnt_queries(const search::ExactIndex& exact, const at::Tensor& captions_TD) {
  std::vector<at::Tensor> rows;
  const std::int64_t images =
      std::min(exact.size(), captions_TD.defined() ? captions_TD.size(0) : kLearntFrom);
  for (std::int64_t i = 0; i < images; ++i) rows.push_back(exact.row(i * exact.size() / images));
  const at::Tensor images_ID = at::stack(rows);
  return captions_TD.defined() ? at::cat({images_ID, captions_TD}) : images_ID;
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
  const search::ExactIndex exact(ranges);
  const Captions captions = captions_of(task);
  search::write_lists(folder / kLists, search::source_of(ranges),
                      {task.settings.lists, learnt_queries(exact, captions.learnt_TD)}, poll);
  const search::Lists lists(folder / kLists, exact.size(), exact.width());
  const auto measured = [&](const HeldBack& held) {
    return search::measured_promise(exact, lists, held.query_QD, held.own, task.settings.least_recall, poll);
  };
  manifest.image = measured(held_back_images(exact));
  manifest.text = measured(captions.held);
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
  const io::Path folder = task.output();
  const io::Aside mine(folder);
  const io::Path& aside = mine.path();
  io::make_folders(aside);
  search::Manifest manifest;
  jobs::TaskDone result;
  const auto segments = gather_segments(task, aside, manifest, context);
  if (segments.empty())
    throw Error(ErrorKind::kInvalid, "stage '" + task.stage() + "' has no embedded image to index",
                "look at the counts of its embed tasks: every image was bad or dropped");
  manifest.approximate = task.settings.search == jobs::SearchKind::kApproximate ||
                         (task.settings.search == jobs::SearchKind::kAuto && manifest.items() >= lists_from_);
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
  result.counts["segments"] = static_cast<std::int64_t>(manifest.segments.size());
  result.summary = summary_of(manifest).dump();
  return result;
}

}  // namespace trireme::worker::stages::index

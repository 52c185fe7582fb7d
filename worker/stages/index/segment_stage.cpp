#include "worker/stages/index/segment_stage.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <vector>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "worker/checkpoint/features.h"
#include "worker/search/segment.h"

namespace trireme::worker::stages::index {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMostColumns = 64, kLongestValue = 256;
constexpr std::array<std::string_view, 5> kNoColumns{"key", "caption", "url", "status", "error_message"};

bool is_column(const std::string& name, const ordered_json& value) {
  if (std::find(kNoColumns.begin(), kNoColumns.end(), name) != kNoColumns.end()) return false;
  if (name.ends_with(".end")) return false;  // of a segment's own names
  return value.is_number() || value.is_boolean() ||
         (value.is_string() && value.get_ref<const std::string&>().size() <= kLongestValue);
}

search::Item item_of(const data::ShardReader& shard, std::int64_t sample, std::set<std::string>& columns) {
  search::Item item{sample, shard.key(sample), "", shard.captions(sample), "{}"};
  const auto json = ordered_json::parse(shard.json(sample), nullptr, false);
  if (!json.is_object()) return item;
  if (const auto url = json.find("url"); url != json.end() && url->is_string()) item.url = *url;
  auto chosen = ordered_json::object();
  for (const auto& [name, value] : json.items()) {
    if (!is_column(name, value)) continue;
    chosen[name] = value;
    columns.insert(name);
  }
  item.columns = chosen.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  return item;
}

}  // namespace

jobs::TaskDone SegmentStage::work(const Task& task, runtime::TaskContext& context) {
  const at::NoGradGuard no_gradients;
  const data::ShardReader shard = task.open_shard();
  const auto features = checkpoint::read_features(task.inputs.only(jobs::Role::kFeatures).path);
  std::vector<search::Item> items;
  std::set<std::string> columns;
  at::Tensor rows = at::empty({0, 0}, at::kFloat);
  jobs::TaskDone done;
  done.counts["no_direction"] = 0;
  if (features.image.defined() && features.space == "shared") {
    const at::Tensor norm = features.image.norm(2, {1}, true);
    const at::Tensor sound = norm.isfinite().logical_and(norm > 1e-6).view({-1}).contiguous();
    rows = (features.image / norm).index({sound});
    const auto* const samples = features.sample.data_ptr<std::int64_t>();
    for (std::int64_t row = 0; row < features.image.size(0); ++row) {
      context.stop->throw_if_stopped();
      if (sound.data_ptr<bool>()[row])
        items.push_back(item_of(shard, samples[row], columns));
      else
        ++done.counts["no_direction"];
    }
  }
  std::vector<std::string> named(columns.begin(), columns.end());
  named.resize(std::min(named.size(), kMostColumns));
  search::write_segment(task.output(), rows, items, named);
  done.counts["rows"] = rows.size(0);
  if (context.progress) context.progress(1, 1);
  return done;
}

}  // namespace trireme::worker::stages::index

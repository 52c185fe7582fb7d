#include "worker/stages/train/inputs/data_set.h"

#include <algorithm>
#include <iterator>

#include "common/base/error.h"
#include "common/base/processor_time.h"
#include "jobs/layouts/line_list.h"
#include "worker/data/batches/verdicts.h"

namespace trireme::worker::stages::train {
namespace {

constexpr std::int64_t kLookedAt = 100;  // samples, before something counts as absent

// Files of one role of one shard, in order of their ranges.
std::vector<jobs::InputFile> files_of(const std::vector<jobs::InputsLine>& inputs,
                                      const jobs::ShardRef& shard, jobs::Role role) {
  std::vector<jobs::InputFile> found;
  for (const auto& line : inputs)
    if (line.input && line.input->role == role && line.input->data == shard.data &&
        line.input->shard == shard.shard)
      found.push_back(*line.input);
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  return found;
}

std::vector<std::string> paths_of(const std::vector<jobs::InputsLine>& inputs, const jobs::ShardRef& shard,
                                  jobs::Role role) {
  std::vector<std::string> paths;
  for (const auto& input : files_of(inputs, shard, role)) paths.push_back(input.path);
  return paths;
}

std::vector<std::int32_t> selected(const jobs::ShardRef& shard) {
  const auto first = shard.selected_first;
  const auto last = shard.selected_count < 0 ? shard.samples : first + shard.selected_count;
  std::vector<std::int32_t> positions;
  for (auto at = first; at < std::min(last, shard.samples); ++at)
    positions.push_back(static_cast<std::int32_t>(at));
  return positions;
}

// Kept by every filter stage: a sample that a stage judged and dropped is gone.
void apply_verdicts(const std::vector<std::string>& paths, std::vector<std::int32_t>& kept) {
  for (const auto& path : paths) {
    const auto judged = data::read_verdicts(path);
    const auto dropped = [&](std::int32_t sample) {
      return sample >= judged.first && sample < judged.first + judged.count &&
             !std::binary_search(judged.kept.begin(), judged.kept.end(), sample);
    };
    kept.erase(std::remove_if(kept.begin(), kept.end(), dropped), kept.end());
  }
}

DataShard load_shard(const jobs::ShardRef& ref, const jobs::DataSpec& spec,
                     const std::vector<jobs::InputsLine>& inputs, double& sidecar_seconds) {
  DataShard shard{.ref = ref, .kept = selected(ref)};
  if (static_cast<std::size_t>(ref.source) < spec.sources.size())
    shard.weight = spec.sources[static_cast<std::size_t>(ref.source)].weight;
  apply_verdicts(paths_of(inputs, ref, jobs::Role::kVerdicts), shard.kept);
  const auto index = paths_of(inputs, ref, jobs::Role::kShardIndex);
  if (index.size() != 1)
    throw Error(ErrorKind::kInternal, "data set '" + ref.data + "': " + ref.path + " has " +
                                          std::to_string(index.size()) + " indexes among the inputs");
  shard.reader = std::make_shared<data::ShardReader>(ref.path, index.front());
  const auto features = paths_of(inputs, ref, jobs::Role::kFeatures);
  if (!features.empty()) shard.features = std::make_shared<embedding::FeatureTable>(features, ref.samples);
  const double begin = thread_seconds();
  if (const auto captions = files_of(inputs, ref, jobs::Role::kCaptions);
      !captions.empty() && !shard.kept.empty())
    shard.captions = std::make_shared<data::ShardCaptions>(
        paths_of(inputs, ref, jobs::Role::kCaptions),
        data::ShardCaptions::Shard{ref.path, ref.sha256, captions.front().stage}, *shard.reader, shard.kept);
  sidecar_seconds += thread_seconds() - begin;
  return shard;
}

}  // namespace

DataSet load_data_set(const std::string& name, const jobs::DataSpec& spec,
                      const std::vector<jobs::InputsLine>& inputs) {
  DataSet set{.spec = spec};
  for (const auto& line : inputs)
    if (line.shard && line.shard->data == name)
      set.shards.push_back(load_shard(*line.shard, spec, inputs, set.sidecar_seconds));
  if (set.samples() == 0)
    throw Error(ErrorKind::kInvalid, "data set '" + name + "' has no sample left to read",
                "look at the filter's counts and at 'select'");
  const auto& path = set.shards.front().ref.path;
  set.classes = spec.classes.empty() ? jobs::class_names_near(path) : spec.classes;
  set.templates = spec.caption_templates;
  return set;
}

std::int64_t DataSet::samples() const {
  std::int64_t sum = 0;
  for (const auto& shard : shards) sum += static_cast<std::int64_t>(shard.kept.size());
  return sum;
}

bool DataSet::any_has(const std::function<bool(std::size_t shard, std::int64_t sample)>& has) const {
  std::int64_t seen = 0;
  for (std::size_t shard = 0; shard < shards.size(); ++shard)
    for (const auto sample : shards[shard].kept) {
      if (has(shard, sample)) return true;
      if (++seen == kLookedAt) return false;
    }
  return false;
}

std::vector<data::SamplePosition> DataSet::positions() const {
  std::vector<data::SamplePosition> all;
  for (std::size_t s = 0; s < shards.size(); ++s)
    for (const auto sample : shards[s].kept) all.push_back({static_cast<std::int64_t>(s), sample});
  return all;
}

std::vector<embedding::Shard> DataSet::for_encoder() const {
  std::vector<embedding::Shard> all;
  for (const auto& shard : shards) all.push_back({shard.reader.get(), shard.features.get()});
  return all;
}

bool DataSet::stored_images() const {
  return std::all_of(shards.begin(), shards.end(), [](const DataShard& shard) {
    return shard.kept.empty() || (shard.features && shard.features->has_images());
  });
}

bool DataSet::stored_texts() const {
  return std::all_of(shards.begin(), shards.end(), [](const DataShard& shard) {
    return shard.kept.empty() || (shard.features && shard.features->has_texts());
  });
}

std::vector<data::ManifestShard> DataSet::manifest() const {
  std::vector<data::ManifestShard> manifest;
  for (const auto& shard : shards)
    manifest.push_back({shard.ref.sha256, shard.ref.samples, shard.weight, shard.kept, shard.times});
  return manifest;
}

data::SamplePosition DataSet::text_owner(std::size_t shard, std::int64_t sample) const {
  return texts_of.empty() ? data::SamplePosition{static_cast<std::int64_t>(shard), sample}
                          : texts_of[shard][static_cast<std::size_t>(sample)];
}

std::vector<std::string> DataSet::captions(std::size_t shard, std::int64_t sample) const {
  const auto owner = text_owner(shard, sample);
  return data::captions_of(*shards[static_cast<std::size_t>(owner.shard)].reader, owner.sample, classes,
                           templates);
}

}  // namespace trireme::worker::stages::train

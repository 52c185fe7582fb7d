#include "worker/stages/train/signals/truth.h"

#include <string>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::worker::stages::train {
namespace {

std::string truth_path(const std::string& shard) {
  constexpr std::string_view kTar = ".tar";
  if (!shard.ends_with(kTar)) return "";
  return shard.substr(0, shard.size() - kTar.size()) + ".truth.jsonl";
}

std::unordered_map<std::string, Truth> read_truth(const std::string& path) {
  std::unordered_map<std::string, Truth> truth;
  io::LineReader file(path);
  for (std::string line; file.next(line);) {
    const auto row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!row.is_object()) continue;
    const auto key = row.find("key"), noise = row.find("noise");
    if (key == row.end() || noise == row.end() || !key->is_string() || !noise->is_string()) continue;
    truth[key->get<std::string>()] = truth_of_noise(noise->get<std::string>());
  }
  return truth;
}

}  // namespace

Truth truth_of_noise(std::string_view noise) {
  if (noise == "none") return Truth::kClean;
  return noise == "swapped" || noise == "boilerplate" ? Truth::kCorrupted : Truth::kUnknown;
}

TruthTable::TruthTable(const DataSet& set) : shards_(set.shards.size()) {
  for (std::size_t s = 0; s < set.shards.size(); ++s) {
    const std::string path = truth_path(set.shards[s].ref.path);
    if (path.empty() || !io::exists(path)) continue;
    const auto truth = read_truth(path);
    if (truth.empty()) continue;
    any_ = true;
    auto& of_shard = shards_[s];
    of_shard.assign(static_cast<std::size_t>(set.shards[s].reader->size()), Truth::kUnknown);
    for (std::size_t i = 0; i < of_shard.size(); ++i)
      if (const auto found = truth.find(set.shards[s].reader->key(static_cast<std::int64_t>(i)));
          found != truth.end())
        of_shard[i] = found->second;
  }
  if (set.texts_of.empty()) return;
  any_ = true;
  for (std::size_t s = 0; s < shards_.size(); ++s) {
    if (shards_[s].empty()) shards_[s].assign(set.texts_of[s].size(), Truth::kClean);
    for (std::size_t i = 0; i < shards_[s].size(); ++i)
      if (set.texts_of[s][i] !=
          data::SamplePosition{static_cast<std::int64_t>(s), static_cast<std::int64_t>(i)})
        shards_[s][i] = Truth::kCorrupted;
  }
}

Truth TruthTable::of(const data::SamplePosition& sample) const {
  if (sample.sample < 0) return Truth::kUnknown;
  const auto& shard = shards_[static_cast<std::size_t>(sample.shard)];
  return shard.empty() ? Truth::kUnknown : shard[static_cast<std::size_t>(sample.sample)];
}

}  // namespace trireme::worker::stages::train

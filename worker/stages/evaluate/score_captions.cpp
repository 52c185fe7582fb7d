#include "worker/stages/evaluate/score_captions.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "jobs/specification/stages/concept_stages_spec.h"
#include "worker/data/batches/kept_samples.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/runtime/open_task.h"
#include "worker/text/tokenizers/caption_words.h"

namespace trireme::worker::stages::evaluate {
namespace {

namespace fs = std::filesystem;

using Counts = std::map<std::string, std::int64_t>;

std::string words_of(const std::string& text) {
  std::string joined;
  for (const auto& word : text::caption_words(text)) joined += (joined.empty() ? "" : " ") + word;
  return joined;
}

std::vector<std::string> files_of(const runtime::TaskInputs& inputs, const std::string& named) {
  std::vector<std::string> files;
  if (named.empty() || !jobs::named_stage(named).empty()) return inputs.paths(jobs::Role::kCaptions);
  if (!io::is_folder(named)) return {named};
  for (const auto& file : io::files_below(named))
    if (file.extension() == ".jsonl") files.push_back(file.string());
  return files;
}

struct Candidate {
  std::optional<std::string> words;  // nothing where the picture could not be decoded
  std::int64_t shard = -1;           // that it was used for
};
// By shard (its sha256; "" for files without a head) and key, which stands for one sample of a shard only.
using Captions = std::map<std::string, std::map<std::string, Candidate>>;

// `shards`: the sha256 of those that the captions may be of.
Captions read_captions(const std::vector<std::string>& files, const std::set<std::string>& shards,
                       Counts& counts) {
  Captions captions;
  for (const auto& file : files) {
    const std::string text = io::read_file(file);
    std::int64_t number = 0;
    std::string of;
    for (std::size_t at = 0; at < text.size();) {
      const auto end = std::min(text.find('\n', at), text.size());
      const auto line =
          nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                                text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
      ++number;
      const bool blank = end == at;
      at = end + 1;
      if (blank) continue;
      if (!line.is_object())
        throw Error(ErrorKind::kInvalid, file + ", line " + std::to_string(number) + " is no JSON object",
                    "captions are lines {\"key\": …, \"caption\": …}");
      const auto key = line.find("key"), caption = line.find("caption");
      if (const auto shard = line.find("shard_sha256"); shard != line.end() && shard->is_string())
        of = shard->get<std::string>();
      if (key == line.end() || !key->is_string() || caption == line.end() || !caption->is_string()) continue;
      if (!of.empty() && !shards.contains(of)) {
        ++counts["stale"];
        continue;
      }
      const auto fault = line.find("fault");
      const bool bad = fault != line.end() && fault->is_string() && !fault->get<std::string>().empty();
      std::optional<std::string> words;
      if (!bad) words = words_of(caption->get<std::string>());
      const auto [known, fresh] = captions[of].try_emplace(key->get<std::string>(), Candidate{words});
      if (!fresh && known->second.words != words)
        throw Error(ErrorKind::kInvalid,
                    file + ", line " + std::to_string(number) + " is a second caption of the key " +
                        key->get<std::string>() + ", with other words",
                    of.empty() ? "captions of several shards stand behind a line {\"shard_sha256\": …} each"
                               : "a key has one caption");
      counts["repeated"] += fresh ? 0 : 1;
    }
  }
  return captions;
}

// The caption of a sample; nullptr when there is none. A file without a head cannot tell the samples of two
// shards that share a key.
const Candidate* caption_of(Captions& captions, const jobs::ShardRef& shard, const std::string& key) {
  for (const std::string& of : {shard.sha256, std::string()}) {
    auto& known = captions[of];
    const auto found = known.find(key);
    if (found == known.end()) continue;
    if (of.empty() && found->second.shard >= 0 && found->second.shard != shard.shard)
      throw Error(ErrorKind::kInvalid,
                  "the key " + key + " stands for samples of several shards (" + shard.path +
                      " is one), and its "
                      "caption does not say for which",
                  "captions of several shards stand behind a line {\"shard_sha256\": …} each");
    found->second.shard = shard.shard;
    return &found->second;
  }
  return nullptr;
}

}  // namespace

CaptionEvaluation evaluate_captions(const runtime::OpenTask<jobs::EvaluateSettings>& task,
                                    const std::function<void()>& poll) {
  const auto& settings = task.settings;
  CaptionEvaluation result{
      settings.data,
      {},
      {{"repeated", 0}, {"empty", 0}, {"missing", 0}, {"undecodable", 0}, {"stale", 0}, {"unknown", 0}}};
  std::set<std::string> shards;
  for (const auto& shard : task.inputs.shards()) shards.insert(shard.sha256);
  auto captions = read_captions(files_of(task.inputs, settings.captions), shards, result.counts);
  std::vector<evaluation::ScoredCaption> scored;
  std::string first_missing;
  for (const auto& shard : task.inputs.shards()) {
    poll();
    result.dataset = shard.data;
    const data::ShardReader reader(shard.path, task.inputs.paths(jobs::Role::kShardIndex, shard).at(0));
    const auto last = shard.selected_count < 0 ? reader.size() : shard.selected_first + shard.selected_count;
    for (const auto sample : data::kept_samples(shard.selected_first, std::min(last, reader.size()),
                                                task.inputs.paths(jobs::Role::kVerdicts, shard))) {
      const Candidate* found = caption_of(captions, shard, reader.key(sample));
      if (found == nullptr) {
        if (result.counts["missing"]++ == 0) first_missing = reader.key(sample) + " of " + shard.path;
        continue;
      }
      if (!found->words) {
        ++result.counts["undecodable"];
        continue;
      }
      evaluation::ScoredCaption one{*found->words, {}};
      for (const auto& reference : reader.captions(sample)) one.references.push_back(words_of(reference));
      if (one.references.empty())
        throw Error(ErrorKind::kInvalid,
                    "sample " + reader.key(sample) + " of " + shard.path + " has no caption to compare with",
                    "task captions needs a data set with texts");
      result.counts["empty"] += one.candidate.empty() ? 1 : 0;
      scored.push_back(std::move(one));
    }
  }
  for (const auto& [of, known] : captions)
    result.counts["unknown"] +=
        std::ranges::count_if(known, [](const auto& one) { return one.second.shard < 0; });
  result.counts["images"] = static_cast<std::int64_t>(scored.size());
  const std::int64_t missing = result.counts["missing"];
  if (missing > 0 || scored.empty())
    throw Error(
        ErrorKind::kInvalid,
        "stage '" + task.stage() + "': " + std::to_string(missing) + " of " +
            std::to_string(missing + result.counts["images"] + result.counts["undecodable"]) +
            " samples have no caption (first: " + first_missing + "); " +
            std::to_string(result.counts["unknown"]) + " captions have other keys, and " +
            std::to_string(result.counts["stale"]) + " were written for other shards",
        "caption every sample that is scored, or select those that are; a line's \"key\" is the sample's "
        "name in its tar");
  result.scores = evaluation::score_captions(scored);
  return result;
}

}  // namespace trireme::worker::stages::evaluate

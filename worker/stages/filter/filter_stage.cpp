#include "worker/stages/filter/filter_stage.h"

#include <algorithm>

#include "common/io/file.h"
#include "common/io/hash.h"
#include "jobs/spec/job_spec.h"
#include "worker/data/image.h"
#include "worker/data/shard_reader.h"
#include "worker/runtime/parallel.h"
#include "worker/runtime/task_inputs.h"
#include "worker/stages/filter/rules.h"
#include "worker/stages/filter/thumbnails.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::filter {
namespace {

struct Judged {
  std::string key;
  SampleFacts facts;
  Verdict verdict;
};

// Pictures are decoded in full: a file that opens may still end early.
void look_at_image(std::string_view bytes, SampleFacts& facts) {
  data::ImageInfo info;
  facts.decode_fault = data::image_info(bytes, info);
  facts.width = info.width;
  facts.height = info.height;
  if (!facts.decode_fault.empty()) return;
  data::Image picture;
  facts.decode_fault = data::decode_image(bytes, {}, picture);
}

std::int64_t others(const data::PairCounts* counts, data::PairFamily family, std::string_view bytes) {
  if (counts == nullptr) return 1;
  return static_cast<std::int64_t>(counts->others(family, io::xxh3_128(bytes)));
}

SampleFacts facts_of(const data::ShardReader& shard, std::int64_t sample, const data::PairCounts* counts) {
  SampleFacts facts;
  std::string storage;
  const std::string_view bytes = shard.image_bytes(sample, storage);
  look_at_image(bytes, facts);
  facts.texts_per_image = others(counts, data::PairFamily::kImage, bytes);
  for (const auto& caption : shard.captions(sample)) {
    const auto words = static_cast<std::int64_t>(text::unigrams(caption).size());
    facts.captions.push_back(
        {words,
         counts == nullptr ? 1 : others(counts, data::PairFamily::kText, text::normalized_text(caption))});
  }
  return facts;
}

std::map<std::string, std::int64_t> counts_of(const std::vector<Judged>& judged) {
  std::map<std::string, std::int64_t> counts = {
      {"in", static_cast<std::int64_t>(judged.size())}, {"kept", 0}, {"dropped", 0}};
  for (const auto& sample : judged) {
    ++counts[sample.verdict.kept ? "kept" : "dropped"];
    for (const auto& rule : sample.verdict.rules) ++counts["dropped." + rule];
    if (!sample.facts.decode_fault.empty()) ++counts["bad." + sample.facts.decode_fault];
    counts["captions.in"] += static_cast<std::int64_t>(sample.facts.captions.size());
    counts["captions.kept"] += static_cast<std::int64_t>(sample.verdict.captions.size());
    for (const auto& [rule, count] : sample.verdict.dropped_captions)
      counts["captions.dropped." + rule] += count;
  }
  return counts;
}

void write_verdicts(const std::string& path, std::int64_t first, const std::vector<Judged>& judged) {
  std::string text = R"({"format":"trireme-verdicts","version":1,"first":)" + std::to_string(first) +
                     ",\"count\":" + std::to_string(judged.size()) + "}\n";
  for (std::size_t i = 0; i < judged.size(); ++i) {
    const auto& [key, facts, verdict] = judged[i];
    text += verdict_line(first + static_cast<std::int64_t>(i), key, facts, verdict) + "\n";
  }
  io::write_file_atomic(path, text);
}

}  // namespace

const data::PairCounts* FilterStage::pair_counts(const jobs::Task& task) {
  std::vector<std::string> paths;
  for (const auto& input : runtime::inputs_of(task, "pair_counts")) paths.push_back(input.path);
  std::sort(paths.begin(), paths.end());
  if (paths != counts_paths_) {
    counts_ = paths.empty() ? nullptr : std::make_unique<data::PairCounts>(paths);
    counts_paths_ = paths;
  }
  return counts_.get();
}

jobs::TaskDone FilterStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto settings = std::get<jobs::FilterSettings>(jobs::settings_from_json("filter", task.settings));
  const data::PairCounts* counts = pair_counts(task);
  if (counts == nullptr && (settings.max_images_per_text || settings.max_texts_per_image)) {
    throw Error(ErrorKind::kInvalid,
                "stage '" + task.stage + "' has a rule that counts texts or images, but no pair_counts stage",
                "add a stage of kind pair_counts and name it in needs");
  }
  const data::ShardReader shard(runtime::shard_of(task).path, runtime::input_path(task, "shard_index"));
  const std::int64_t first = task.first, count = std::min(task.count, shard.size() - task.first);
  std::vector<Judged> judged(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
  runtime::parallel_for(
      count, context.threads, context.stop,
      [&](std::int64_t i) {
        auto& sample = judged[static_cast<std::size_t>(i)];
        sample.key = shard.key(first + i);
        sample.facts = facts_of(shard, first + i, counts);
        sample.verdict = judge(sample.facts, settings);
      },
      [&](std::int64_t done) {
        if (context.progress) context.progress(done, count);
      });

  ThumbnailChoice choice;
  for (std::int64_t i = 0; i < count; ++i)
    choice.offer(first + i, judged[static_cast<std::size_t>(i)].verdict);
  jobs::TaskDone result;
  write_verdicts(task.output + ".verdicts.jsonl", first, judged);
  io::write_file_atomic(task.output + ".thumbnails.jsonl", thumbnail_lines(shard, choice.chosen()));
  result.outputs = {runtime::describe_output("", task.output + ".verdicts.jsonl"),
                    runtime::describe_output("thumbnails", task.output + ".thumbnails.jsonl")};
  result.counts = counts_of(judged);
  return result;
}

}  // namespace trireme::worker::stages::filter

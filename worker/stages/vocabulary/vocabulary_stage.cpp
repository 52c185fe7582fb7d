#include "worker/stages/vocabulary/vocabulary_stage.h"

#include <algorithm>

#include "common/io/file.h"
#include "jobs/specification/job_spec.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/text/tokenizers/vocabulary_trainer.h"
#include "worker/text/word_counts.h"

namespace trireme::worker::stages::vocabulary {
namespace {

std::vector<text::WordCountsFile> open_counts(const runtime::OpenedTask& task, jobs::Role role) {
  std::vector<text::WordCountsFile> files;
  for (const auto& path : task.inputs.paths(role)) files.emplace_back(path);
  return files;
}

std::int64_t signed_count(std::uint64_t count) {
  return static_cast<std::int64_t>(count);
}

}  // namespace

jobs::TaskDone VocabularyMapStage::work(const Task& task, runtime::TaskContext& context) {
  const jobs::VocabularySettings& settings = task.settings;
  const text::BertRules rules{settings.lower_case, settings.strip_accents.value_or(settings.lower_case),
                              settings.split_ideographs};
  const data::ShardReader shard = task.open_shard();
  const std::int64_t first = task.first(), end = task.end(shard);
  text::WordTally tally;
  text::BertWords words;
  std::int64_t captions = 0;
  for (std::int64_t sample = first; sample < end; ++sample) {
    context.stop->throw_if_stopped();
    for (const auto& caption : shard.captions(sample)) {
      text::split_bert_words(caption, rules, words);
      tally.add(words);
      ++captions;
    }
    if (context.progress) context.progress(sample - first + 1, end - first);
  }
  jobs::TaskDone result;
  text::write_word_counts(task.output(), tally, settings.partitions);
  result.counts = {{"in", end - first}, {"captions", captions}, {"words", signed_count(tally.words())}};

  return result;
}

jobs::TaskDone VocabularyMergeStage::work(const Task& task, runtime::TaskContext& context) {
  const auto files = open_counts(task, jobs::Role::kWords);
  context.stop->throw_if_stopped();

  const text::MergedWords sums = text::merge_word_counts(files, task.part(), task.parts(), task.output());
  jobs::TaskDone result;
  result.counts = {{"distinct_words", signed_count(sums.distinct)}};  // the words are counted by the maps

  if (context.progress) context.progress(1, 1);
  return result;
}

jobs::TaskDone VocabularyTrainStage::work(const Task& task, runtime::TaskContext& context) {
  const jobs::VocabularySettings& settings = task.settings;
  std::vector<text::WordCount> words;
  for (const auto& file : open_counts(task, jobs::Role::kWordCounts))
    for (std::int64_t i = 0; i < file.partitions(); ++i)
      for (const auto& entry : file.partition(i)) words.push_back({std::string(entry.word), entry.count});
  if (words.empty())
    throw Error(ErrorKind::kInvalid, "stage '" + task.stage() + "' found no words to train a vocabulary on",
                "the data sets hold no captions");
  text::VocabularyRules rules;
  rules.size = settings.size;
  rules.min_count = static_cast<std::uint64_t>(settings.min_count);
  rules.most_characters = settings.most_characters;
  const auto pieces = text::train_vocabulary(words, rules, [&](std::size_t so_far) {
    context.stop->throw_if_stopped();
    if (context.progress) context.progress(static_cast<std::int64_t>(so_far), settings.size);
  });
  std::string lines;
  for (const auto& piece : pieces) lines += piece + "\n";

  io::write_file_atomic(task.output(), lines);
  jobs::TaskDone result;
  result.counts = {{"pieces", static_cast<std::int64_t>(pieces.size())}};

  return result;
}

}  // namespace trireme::worker::stages::vocabulary

#include "worker/stages/vocabulary/vocabulary_stage.h"

#include <algorithm>

#include "common/io/file.h"
#include "jobs/specification/job_spec.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/runtime/task_inputs.h"
#include "worker/text/tokenizers/vocabulary_trainer.h"
#include "worker/text/word_counts.h"

namespace trireme::worker::stages::vocabulary {
namespace {

jobs::VocabularySettings settings_of(const jobs::Task& task) {
  return std::get<jobs::VocabularySettings>(jobs::settings_from_json("vocabulary", task.settings));
}

std::vector<text::WordCountsFile> open_counts(const jobs::Task& task, std::string_view role) {
  std::vector<text::WordCountsFile> files;
  for (const auto& line : runtime::read_inputs(task))
    if (line.input && line.input->role == role) files.emplace_back(line.input->path);
  return files;
}

std::int64_t signed_count(std::uint64_t count) {
  return static_cast<std::int64_t>(count);
}

}  // namespace

jobs::TaskDone VocabularyMapStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const jobs::VocabularySettings settings = settings_of(task);
  const text::BertRules rules{settings.lower_case, settings.strip_accents.value_or(settings.lower_case),
                              settings.split_ideographs};
  const data::ShardReader shard(runtime::shard_of(task).path, runtime::input_path(task, "shard_index"));
  const std::int64_t end = std::min(task.first + task.count, shard.size());
  text::WordTally tally;
  text::BertWords words;
  std::int64_t captions = 0;
  for (std::int64_t sample = task.first; sample < end; ++sample) {
    context.stop->throw_if_stopped();
    for (const auto& caption : shard.captions(sample)) {
      text::split_bert_words(caption, rules, words);
      tally.add(words);
      ++captions;
    }
    if (context.progress) context.progress(sample - task.first + 1, end - task.first);
  }
  jobs::TaskDone result;
  text::write_word_counts(task.output + ".words", tally, settings.partitions);
  result.counts = {{"in", std::max<std::int64_t>(end - task.first, 0)},
                   {"captions", captions},
                   {"words", signed_count(tally.words())}};
  result.outputs = {runtime::describe_output("", task.output + ".words")};
  return result;
}

jobs::TaskDone VocabularyMergeStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto files = open_counts(task, "words");
  context.stop->throw_if_stopped();
  const std::string path = task.output + ".word_counts";
  const text::MergedWords sums = text::merge_word_counts(files, task.first, task.count, path);
  jobs::TaskDone result;
  result.counts = {{"words", signed_count(sums.words)}, {"distinct_words", signed_count(sums.distinct)}};
  result.outputs = {runtime::describe_output("", path)};
  if (context.progress) context.progress(1, 1);
  return result;
}

jobs::TaskDone VocabularyTrainStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const jobs::VocabularySettings settings = settings_of(task);
  std::vector<text::WordCount> words;
  for (const auto& file : open_counts(task, "word_counts"))
    for (std::int64_t i = 0; i < file.partitions(); ++i)
      for (const auto& entry : file.partition(i)) words.push_back({std::string(entry.word), entry.count});
  if (words.empty())
    throw Error(ErrorKind::kInvalid, "stage '" + task.stage + "' found no words to train a vocabulary on",
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
  const std::string path = task.output + ".vocab.txt";
  io::write_file_atomic(path, lines);
  jobs::TaskDone result;
  result.counts = {{"pieces", static_cast<std::int64_t>(pieces.size())},
                   {"distinct_words", static_cast<std::int64_t>(words.size())}};
  result.outputs = {runtime::describe_output("", path)};
  return result;
}

}  // namespace trireme::worker::stages::vocabulary

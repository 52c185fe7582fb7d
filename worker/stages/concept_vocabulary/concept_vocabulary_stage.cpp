#include "worker/stages/concept_vocabulary/concept_vocabulary_stage.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/io/file.h"
#include "jobs/specification/job_spec.h"
#include "jobs/specification/stages/concept_vocabulary.h"

#include "worker/data/shards/shard_reader.h"
#include "worker/text/parser/caption_concepts.h"
#include "worker/text/parser/wordnet.h"
#include "worker/text/word_counts.h"

namespace trireme::worker::stages::concept_vocabulary {
namespace {

constexpr const char* kLists[] = {"objects", "attributes"};

std::vector<text::WordCountsFile> open_counts(const runtime::OpenedTask& task, jobs::Role role) {
  std::vector<text::WordCountsFile> files;
  for (const auto& path : task.inputs.paths(role)) files.emplace_back(path);
  return files;
}

// The frequent ones of a list that WordNet knows; what is left out is counted.
jobs::ConceptVocabulary chosen(const std::string& name, std::vector<jobs::Concept> all, std::int64_t most,
                               const jobs::ConceptVocabularySettings& settings, const text::WordNet& wordnet,
                               std::map<std::string, std::int64_t>& counts) {
  counts["left_out.rare"] += static_cast<std::int64_t>(
      std::erase_if(all, [&](const auto& one) { return one.count < settings.min_count; }));
  for (auto& one : all) {
    const auto synset = name == "objects" ? wordnet.noun(one.name) : wordnet.adjective(one.name);
    if (!synset) continue;
    one.wordnet = synset->id;
    one.gloss = synset->gloss;
  }
  if (settings.known_words)
    counts["left_out.unknown"] +=
        static_cast<std::int64_t>(std::erase_if(all, [](const auto& one) { return one.wordnet.empty(); }));
  std::ranges::sort(all, [](const auto& a, const auto& b) {
    return a.count != b.count ? a.count > b.count : a.name < b.name;
  });
  const auto kept = std::min(static_cast<std::int64_t>(all.size()), most);
  counts["left_out.beyond"] += static_cast<std::int64_t>(all.size()) - kept;
  all.resize(static_cast<std::size_t>(kept));
  counts[name] = kept;
  return {name, std::move(all)};
}

}  // namespace

jobs::TaskDone ConceptWordsMapStage::work(const Task& task, runtime::TaskContext& context) {
  const data::ShardReader shard = task.open_shard();
  const text::ConceptReader reader(text::Lexicon::standard());
  const auto samples = task.kept(shard);
  text::WordTally tally;
  std::int64_t done = 0, captions = 0;
  for (const auto sample : samples) {
    context.stop->throw_if_stopped();
    const auto texts = shard.captions(sample);
    const text::CaptionConcepts concepts = reader.read(texts);
    for (const char* list : kLists)
      for (const auto& one : concepts.list(list)) tally.add(std::string(list) + " " + one);
    captions += static_cast<std::int64_t>(texts.size());
    if (context.progress) context.progress(++done, static_cast<std::int64_t>(samples.size()));
  }
  jobs::TaskDone result;

  text::write_word_counts(task.output(), tally, task.settings.partitions);
  result.counts = {{"in", static_cast<std::int64_t>(samples.size())},
                   {"captions", captions},
                   {"concepts", static_cast<std::int64_t>(tally.words())}};

  return result;
}

jobs::TaskDone ConceptWordsMergeStage::work(const Task& task, runtime::TaskContext& context) {
  const auto files = open_counts(task, jobs::Role::kConceptWords);
  context.stop->throw_if_stopped();

  const auto sums = text::merge_word_counts(files, task.part(), task.parts(), task.output());
  jobs::TaskDone result;
  result.counts = {{"distinct_concepts", static_cast<std::int64_t>(sums.distinct)}};

  if (context.progress) context.progress(1, 1);
  return result;
}

jobs::TaskDone ConceptVocabularyStage::work(const Task& task, runtime::TaskContext& context) {
  const auto& settings = task.settings;
  std::map<std::string, std::vector<jobs::Concept>> found;
  for (const auto& file : open_counts(task, jobs::Role::kConceptCounts))
    for (std::int64_t i = 0; i < file.partitions(); ++i)
      for (const auto& [word, count] : file.partition(i)) {
        const auto blank = word.find(' ');
        found[std::string(word.substr(0, blank))].push_back(
            {std::string(word.substr(blank + 1)), static_cast<std::int64_t>(count), "", ""});
      }
  context.stop->throw_if_stopped();
  const text::WordNet wordnet = text::WordNet::standard();
  jobs::TaskDone result;
  jobs::ConceptVocabularies made;
  for (const std::string list : kLists)
    made.lists.push_back(chosen(list, std::move(found[list]),
                                list == "objects" ? settings.most_objects : settings.most_attributes,
                                settings, wordnet, result.counts));
  const std::string json = jobs::to_json(made);
  jobs::concept_vocabularies_from_json(json, "stage '" + task.stage() + "'");  // refuses what is too small

  io::write_file_atomic(task.output(), json);

  if (context.progress) context.progress(1, 1);
  return result;
}

}  // namespace trireme::worker::stages::concept_vocabulary

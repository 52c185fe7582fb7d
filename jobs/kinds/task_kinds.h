// What workers are asked to do: one row per kind of task. A stage is made of one or more of them
// (stage_kinds.h). Rows hold all that both sides, or several rooms, know about a kind; what only its stage
// knows stands in its folder of worker/stages.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "common/base/enum_names.h"

namespace trireme::jobs {

enum class TaskKind {
  kSynthesize,
  kInspect,
  kFilter,
  kPairCountsMap,
  kPairCountsMerge,
  kEmbed,
  kTrain,
  kEvaluate,
  kIndex,
  kVocabularyMap,
  kVocabularyMerge,
  kVocabularyTrain,
  kMeasure,
  kNgramsMap,
  kNgramsMerge,
  kDuplicatesMap,
  kDuplicatesMerge,
  kExport,
  kCuts,
  kCaption,
  kConceptWordsMap,
  kConceptWordsMerge,
  kConceptVocabulary,
  kConceptTeacher,
  kConcepts,
  kSignatures,
  kNearPairs,
  kNearClusters,
  kPairScores,
  kAdopt,
  kProbe,
  kSegment,
  kNearLists
};

// What a file is to the tasks that read it.
enum class Role {
  kNone,
  kModel,  // a folder
  kShardIndex,
  kVerdicts,
  kFeatures,
  kPairs,
  kPairCounts,
  kWords,
  kWordCounts,
  kVocabulary,
  kFacts,
  kNgrams,
  kNgramCounts,
  kHashes,
  kDuplicates,
  kCuts,
  kCaptions,  // lines with key and caption
  kConceptWords,
  kConceptCounts,
  kConceptVocabulary,  // what a concept_vocabulary stage made, or a concepts stage's teacher has
  kConcepts,           // labels of a range
  kSignatures,
  kNearPairs,
  kNearClusters,
  kScores,
  kProbe,     // a classifier that was learnt from embeddings
  kSegment,   // of an index
  kNearLists  // of embeddings, for near-duplicates
};
constexpr std::array<std::string_view, 28> names_of(Role) {
  return {"",         "model",       "shard_index",   "verdicts",       "features",
          "pairs",    "pair_counts", "words",         "word_counts",    "vocabulary",
          "facts",    "ngrams",      "ngram_counts",  "hashes",         "duplicates",
          "cuts",     "captions",    "concept_words", "concept_counts", "concept_vocabulary",
          "concepts", "signatures",  "near_pairs",    "near_clusters",  "scores",
          "probe",    "segment",     "near_lists"};
}

// What one task of the kind covers.
enum class Extent {
  kPiece,       // one of the shards that a synthetic source is rendered to
  kShard,       // a shard as it is found
  kRange,       // a range of a shard's samples
  kWholeShard,  // an inspected shard, behind all of its ranges
  kPart,        // a partition of a merge, or the whole of it: reads an inputs file
  kGang         // the whole, by several workers in lockstep: reads an inputs file
};

// Where people find a main output in the run's folder.
enum class Published {
  kNowhere,
  kFile,    // stages/<stage>/<place>
  kFolder,  // <place>, of the last stage of its kind, and the folder's logs in stages/<stage>
  kTars     // <place>/<stage>
};

struct TaskRow {
  TaskKind kind;
  std::string_view name;  // in messages, receipts, metrics and as a folder of the store
  Extent extent;
  std::string_view extension;  // of the main output's file; "" of a folder
  Role made = Role::kNone;     // what the main output is to its readers
  Published published = Published::kNowhere;
  std::string_view place = "";
  std::string_view beside = "", beside_extension = "";  // a second output: its name and its file's extension
};

inline constexpr TaskRow kTasks[] = {
    {TaskKind::kSynthesize, "synthesize", Extent::kPiece, ".tar", {}, {}, "", "truth", ".truth.jsonl"},
    {TaskKind::kInspect, "inspect", Extent::kShard, ".idx", Role::kShardIndex},
    {TaskKind::kFilter,
     "filter",
     Extent::kRange,
     ".verdicts.jsonl",
     Role::kVerdicts,
     {},
     "",
     "thumbnails",
     ".thumbnails.jsonl"},
    {TaskKind::kPairCountsMap, "pair_counts_map", Extent::kRange, ".pairs", Role::kPairs},
    {TaskKind::kPairCountsMerge, "pair_counts_merge", Extent::kPart, ".counts", Role::kPairCounts},
    {TaskKind::kEmbed, "embed", Extent::kRange, ".features.safetensors", Role::kFeatures},
    {TaskKind::kTrain, "train", Extent::kGang, "", Role::kModel, Published::kFolder, "final"},
    {TaskKind::kEvaluate,
     "evaluate",
     Extent::kPart,
     ".evaluation.json",
     {},
     Published::kFile,
     "evaluation.json"},
    {TaskKind::kIndex, "index", Extent::kPart, "", {}, Published::kFolder, "index"},
    {TaskKind::kVocabularyMap, "vocabulary_map", Extent::kRange, ".words", Role::kWords},
    {TaskKind::kVocabularyMerge, "vocabulary_merge", Extent::kPart, ".word_counts", Role::kWordCounts},
    {TaskKind::kVocabularyTrain, "vocabulary_train", Extent::kPart, ".vocab.txt", Role::kVocabulary,
     Published::kFile, "vocab.txt"},
    {TaskKind::kMeasure, "measure", Extent::kRange, ".facts.jsonl", Role::kFacts},
    {TaskKind::kNgramsMap, "ngrams_map", Extent::kRange, ".ngrams", Role::kNgrams},
    {TaskKind::kNgramsMerge, "ngrams_merge", Extent::kPart, ".ngram_counts", Role::kNgramCounts},
    {TaskKind::kDuplicatesMap, "duplicates_map", Extent::kRange, ".hashes", Role::kHashes},
    {TaskKind::kDuplicatesMerge, "duplicates_merge", Extent::kPart, ".duplicates", Role::kDuplicates},
    {TaskKind::kExport,
     "export",
     Extent::kWholeShard,
     ".tar",
     {},
     Published::kTars,
     "export",
     "uids",
     ".uids"},
    {TaskKind::kCuts, "cuts", Extent::kPart, ".cuts.json", Role::kCuts},
    {TaskKind::kCaption, "caption", Extent::kRange, ".captions.jsonl", Role::kCaptions},
    {TaskKind::kConceptWordsMap, "concept_words_map", Extent::kRange, ".concept_words", Role::kConceptWords},
    {TaskKind::kConceptWordsMerge, "concept_words_merge", Extent::kPart, ".concept_counts",
     Role::kConceptCounts},
    {TaskKind::kConceptVocabulary, "concept_vocabulary", Extent::kPart, ".concepts.json",
     Role::kConceptVocabulary, Published::kFile, "concepts.json"},
    {TaskKind::kConceptTeacher, "concept_teacher", Extent::kPart, ".concepts.json", Role::kConceptVocabulary,
     Published::kFile, "concepts.json"},
    {TaskKind::kConcepts, "concepts", Extent::kRange, ".concepts.safetensors", Role::kConcepts},
    {TaskKind::kSignatures, "signatures", Extent::kRange, ".signatures", Role::kSignatures},
    {TaskKind::kNearPairs, "near_pairs", Extent::kPart, ".near_pairs", Role::kNearPairs},
    {TaskKind::kNearClusters, "near_clusters", Extent::kPart, ".near_clusters.jsonl", Role::kNearClusters},
    {TaskKind::kPairScores, "pair_scores", Extent::kRange, ".scores.jsonl", Role::kScores},
    {TaskKind::kAdopt, "adopt", Extent::kPart, "", Role::kModel},
    {TaskKind::kProbe, "probe", Extent::kGang, ".probe.safetensors", Role::kProbe},
    {TaskKind::kSegment, "segment", Extent::kRange, ".segment", Role::kSegment},
    {TaskKind::kNearLists, "near_lists", Extent::kPart, ".near_lists.safetensors", Role::kNearLists},
};

constexpr const TaskRow& row_of(TaskKind kind) {
  return kTasks[static_cast<std::size_t>(kind)];
}
static_assert(
    [] {
      for (std::size_t i = 0; i < std::size(kTasks); ++i)
        if (kTasks[i].kind != static_cast<TaskKind>(i)) return false;
      return true;
    }(),
    "rows stand in the order of TaskKind");

using trireme::name_of;
constexpr auto names_of(TaskKind) {
  std::array<std::string_view, std::size(kTasks)> names{};
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kTasks[i].name;
  return names;
}
constexpr std::string_view name_of(TaskKind kind) {
  return row_of(kind).name;
}
TaskKind task_kind_from_name(std::string_view name);  // throws kDamaged

}  // namespace trireme::jobs

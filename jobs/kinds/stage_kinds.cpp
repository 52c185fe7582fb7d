#include "jobs/kinds/stage_kinds.h"

#include <algorithm>
#include <string>

#include "common/base/error.h"
#include "jobs/kinds/model_sizes.h"

namespace trireme::jobs {
namespace {

constexpr double kNgramBytes = 36, kNgramsPerCaption = 20, kHashBytes = 20, kSignatureBytes = 780,
                 kFactBytes = 200, kVerdictBytes = 60, kPairBytes = 64, kWordBytes = 150, kConceptBytes = 200,
                 kScoreBytes = 60, kCaptionBytes = 170, kShingleBytes = 8;

template <class Settings>
struct Row : StageRow {
  Footprint (*footprint)(const Settings& settings, const PipelineSpec& spec);
};

template <class Settings>
constexpr Row<Settings> row(Shape shape, TaskKind result, std::initializer_list<StageStep> steps,
                            Footprint (*footprint)(const Settings&, const PipelineSpec&)) {
  Row<Settings> made{{Settings::kKind, shape, result, {}, static_cast<std::uint32_t>(steps.size())},
                     footprint};
  std::ranges::copy(steps, made.steps.begin());
  return made;
}

using Pipeline = PipelineSpec;
using enum TaskKind;

template <class Settings>
struct Missing {
  static_assert(sizeof(Settings) == 0, "a kind of stage has no row");
};
template <class Settings>
constexpr Row<Settings> kRow = Missing<Settings>::row;

template <>
constexpr Row<FilterSettings> kRow<FilterSettings> = row<FilterSettings>(
    Shape::kMap, kFilter, {{kFilter, 0}, {kMeasure, 1}, {kCuts, 2}},
    [](const FilterSettings&, const Pipeline&) { return Footprint{kVerdictBytes + kFactBytes}; });

template <>
constexpr Row<PairCountsSettings> kRow<PairCountsSettings> = row<PairCountsSettings>(
    Shape::kTally, kPairCountsMerge, {{kPairCountsMap, 0}, {kPairCountsMerge, 1}},
    [](const PairCountsSettings&, const Pipeline&) { return Footprint{kPairBytes * kGuessedCaptions}; });

template <>
constexpr Row<EmbedSettings> kRow<EmbedSettings> =
    row<EmbedSettings>(Shape::kMap, kEmbed, {{kEmbed, 0}}, [](const EmbedSettings& s, const Pipeline& p) {
      return Footprint{ModelSizes(p).towers(s.model)};
    });

template <>
constexpr Row<TrainSettings> kRow<TrainSettings> =
    row<TrainSettings>(Shape::kGang, kTrain, {{kTrain, 0}}, [](const TrainSettings& s, const Pipeline& p) {
      const ModelSizes sizes(p);  // one more than are kept, while it is written
      return Footprint{0, 0, sizes.weights(s),
                       static_cast<double>(p.checkpoint.keep_last + 1) * sizes.checkpoint(s)};
    });

template <>
constexpr Row<EvaluateSettings> kRow<EvaluateSettings> = row<EvaluateSettings>(
    Shape::kTally, kEvaluate, {{kEmbed, 0}, {kEvaluate, 1}, {kAdopt, 2}, {kProbe, 3}},
    [](const EvaluateSettings& s, const Pipeline& p) {
      if (s.model.empty()) return Footprint{};
      const ModelSizes sizes(p);
      return Footprint{sizes.shared(s.model) + sizes.picture(s.model, s.data), 0, sizes.adopted(s.model)};
    });

template <>
constexpr Row<IndexSettings> kRow<IndexSettings> =
    row<IndexSettings>(Shape::kTally, kIndex, {{kEmbed, 0}, {kSegment, 3}, {kIndex, 1}, {kAdopt, 2}},
                       [](const IndexSettings& s, const Pipeline& p) {
                         const ModelSizes sizes(p);
                         return Footprint{2 * sizes.shared(s.model), 0, sizes.adopted(s.model)};
                       });

template <>
constexpr Row<VocabularySettings> kRow<VocabularySettings> = row<VocabularySettings>(
    Shape::kTally, kVocabularyTrain, {{kVocabularyMap, 0}, {kVocabularyMerge, 1}, {kVocabularyTrain, 2}},
    [](const VocabularySettings&, const Pipeline&) { return Footprint{kWordBytes}; });

template <>
constexpr Row<NgramCountsSettings> kRow<NgramCountsSettings> =
    row<NgramCountsSettings>(Shape::kTally, kNgramsMerge, {{kNgramsMap, 0}, {kNgramsMerge, 1}},
                             [](const NgramCountsSettings&, const Pipeline&) {
                               return Footprint{2 * kNgramBytes * kNgramsPerCaption * kGuessedCaptions};
                             });

template <>
constexpr Row<DuplicatesSettings> kRow<DuplicatesSettings> = row<DuplicatesSettings>(
    Shape::kTally, kDuplicatesMerge, {{kDuplicatesMap, 0}, {kDuplicatesMerge, 1}},
    [](const DuplicatesSettings&, const Pipeline&) { return Footprint{3 * kHashBytes}; });

template <>
constexpr Row<ExportSettings> kRow<ExportSettings> =
    row<ExportSettings>(Shape::kMap, kExport, {{kExport, 0}}, [](const ExportSettings&, const Pipeline&) {
      return Footprint{0, 1};
    });

template <>
constexpr Row<CaptionSettings> kRow<CaptionSettings> =
    row<CaptionSettings>(Shape::kMap, kCaption, {{kCaption, 0}},
                         [](const CaptionSettings&, const Pipeline&) { return Footprint{kCaptionBytes}; });

template <>
constexpr Row<ConceptVocabularySettings> kRow<ConceptVocabularySettings> = row<ConceptVocabularySettings>(
    Shape::kTally, kConceptVocabulary,
    {{kConceptWordsMap, 0}, {kConceptWordsMerge, 1}, {kConceptVocabulary, 2}},
    [](const ConceptVocabularySettings&, const Pipeline&) { return Footprint{kConceptBytes}; });

template <>
constexpr Row<ConceptsSettings> kRow<ConceptsSettings> = row<ConceptsSettings>(
    Shape::kMap, kConcepts, {{kConcepts, 0}, {kConceptTeacher, 1}},
    [](const ConceptsSettings& s, const Pipeline&) {
      return Footprint{kConceptBytes + 2 * 2 * kFloatBytes * static_cast<double>(s.top_k)};
    });

template <>
constexpr Row<NearDuplicatesSettings> kRow<NearDuplicatesSettings> = row<NearDuplicatesSettings>(
    Shape::kTally, kNearClusters,
    {{kSignatures, 0}, {kEmbed, 0}, {kNearLists, 3}, {kNearPairs, 1}, {kNearClusters, 2}},
    [](const NearDuplicatesSettings& s, const Pipeline& p) {
      return Footprint{s.by == NearBy::kHash      ? kSignatureBytes
                       : s.by == NearBy::kCaption ? kShingleBytes * (1 + kNgramsPerCaption / 2)
                                                  : ModelSizes(p).image(s.model)};
    });

template <>
constexpr Row<PairScoresSettings> kRow<PairScoresSettings> = row<PairScoresSettings>(
    Shape::kMap, kPairScores, {{kPairScores, 0}, {kEmbed, 1}},
    [](const PairScoresSettings& s, const Pipeline& p) {
      const std::string trained = named_stage(s.model);
      const ModelSizes sizes(p);
      return Footprint{kScoreBytes + (trained.empty() ? sizes.towers(s.model) : sizes.shared(trained))};
    });

}  // namespace

constinit const StageRow kSynthesizeRow{"synthesize", Shape::kMap, kSynthesize, {{{kSynthesize, 0}}}, 1};
constinit const StageRow kInspectRow{"inspect", Shape::kMap, kInspect, {{{kInspect, 0}}}, 1};

std::uint32_t StageRow::phase_of(TaskKind task) const {
  for (std::uint32_t i = 0; i < step_count; ++i)
    if (steps[i].task == task) return steps[i].phase;
  throw Error(ErrorKind::kInternal,
              "a stage of kind " + std::string(name) + " has no task " + std::string(name_of(task)));
}

const StageRow& row_of(const StageSettings& settings) {
  return std::visit([]<class Settings>(const Settings&) -> const StageRow& { return kRow<Settings>; },
                    settings);
}

const StageRow* row_named(std::string_view kind) {
  for (const StageRow* row : {&kSynthesizeRow, &kInspectRow})
    if (row->name == kind) return row;
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    const StageRow* found = nullptr;
    ((kRow<std::variant_alternative_t<I, StageSettings>>.name == kind
          ? void(found = &kRow<std::variant_alternative_t<I, StageSettings>>)
          : void()),
     ...);
    return found;
  }
  (std::make_index_sequence<std::variant_size_v<StageSettings>>());
}

Footprint footprint_of(const PipelineSpec& spec, const StageSettings& settings) {
  return std::visit([&]<class Settings>(const Settings& one) { return kRow<Settings>.footprint(one, spec); },
                    settings);
}

double bytes_per_sample(const SyntheticSpec& synthetic) {
  const auto px = static_cast<double>(synthetic.image_px);
  return px * px * 0.4 + 3000;
}

std::vector<std::string> data_of(const StageSpec& stage) {
  std::vector<std::string> names;
  std::visit(
      [&](const auto& settings) {
        if constexpr (std::is_same_v<std::decay_t<decltype(settings.data)>, std::string>)
          names = {settings.data};
        else
          names = settings.data;
      },
      stage.settings);
  if (const auto* evaluate = std::get_if<EvaluateSettings>(&stage.settings)) {
    for (const auto& more : {evaluate->train_data, evaluate->validation_data})
      if (std::ranges::find(names, more) == names.end()) names.push_back(more);
    std::erase(names, "");  // of words
  }
  return names;
}

std::string evaluated_on(const StageSpec& stage) {
  const auto* train = std::get_if<TrainSettings>(&stage.settings);
  return train != nullptr && train->evaluate_every.steps > 0 ? train->evaluate_every.data : "";
}

}  // namespace trireme::jobs

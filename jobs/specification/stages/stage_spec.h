// Settings of every kind of stage, one struct per kind. A kind stands here only when it works.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "jobs/specification/json/fields.h"
#include "jobs/specification/stages/caption_spec.h"
#include "jobs/specification/stages/classification_spec.h"
#include "jobs/specification/stages/concept_stages_spec.h"
#include "jobs/specification/stages/concepts_spec.h"
#include "jobs/specification/stages/evaluate_spec.h"
#include "jobs/specification/stages/filter_spec.h"
#include "jobs/specification/stages/index_spec.h"
#include "jobs/specification/stages/loss_spec.h"
#include "jobs/specification/stages/optimizer_spec.h"
#include "jobs/specification/stages/precision.h"

namespace trireme::jobs {

// map. Outputs of both towers per sample, stored once: before the projections for a model of spec.models
// (frozen towers).
struct EmbedSettings {
  static constexpr const char* kKind = "embed";
  std::vector<std::string> data;
  std::string model;  // a name in spec.models; towers whose frozen is true are run
  Precision precision = Precision::kFloat32;
  std::int64_t batch = 64;
  std::string caption_prompt;  // "a photo of {c}": captions are put in its place; empty: as they are
  bool tower_output = false;   // of a whole model: before the projection (EvaluateSettings::features)

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets", .least = 1, .required = true});
    v.field("model", model, {.help = "a name in spec.models; its frozen towers are run", .required = true});
    v.field("precision", precision, {.help = "arithmetic"});
    v.field("batch", batch, {.help = "images at once", .least = 1, .most = 4096});
    v.field(
        "caption_prompt", caption_prompt,
        {.help = "what captions are put into before they are embedded; {c} is the caption", .quiet = true});
    v.field("tower_output", tower_output,
            {.help = "what an evaluate stage asks of its own embeddings",
             .quiet = true,
             .unread = "an embed stage leaves what its towers give, always"});
  }
};

struct AugmentSpec {
  double scale_min = 0.9, scale_max = 1.0;  // share of the area that a crop keeps
  double aspect_min = 0.75, aspect_max = 4.0 / 3.0;
  bool flip = false;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("scale_min", scale_min,
            {.help = "smallest share of the area a crop keeps", .least = 0.01, .most = 1});
    v.field("scale_max", scale_max,
            {.help = "largest share of the area a crop keeps", .least = 0.01, .most = 1});
    v.field("aspect_min", aspect_min, {.help = "narrowest crop", .least = 0.1, .most = 10});
    v.field("aspect_max", aspect_max, {.help = "widest crop", .least = 0.1, .most = 10});
    v.field("flip", flip, {.help = "mirror half of the images"});
  }
};

enum class EvaluationMetric {
  kMeanRecall1,
  kImageRetrievalRecall1,
  kTextRetrievalRecall1,
  kAcc1,
  kTokenLoss,
  kMeanAveragePrecision
};
constexpr std::array<std::string_view, 6> names_of(EvaluationMetric) {
  return {"mean_recall@1", "image_retrieval_recall@1", "text_retrieval_recall@1", "acc1",
          "token_loss",    "mean_average_precision"};
}

struct EvaluateEverySpec {
  std::int64_t steps = 0;  // 0: never
  std::string data;        // a data set; retrieval, zero-shot where it has classes, a captioner's loss
  EvaluationMetric metric = EvaluationMetric::kMeanRecall1;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("steps", steps, {.help = "evaluate after every so many steps", .least = 0, .most = 1e9});
    v.field("data", data,
            {.help = "data set to evaluate on",
             .unread = unless(steps > 0, "steps is 0, so nothing is evaluated")});
    v.field("metric", metric,
            {.help = "the checkpoint with the highest value is kept as the result; token_loss, a captioner's "
                     "mean cross entropy per token, the lowest",
             .unread = unless(steps > 0, "steps is 0, so nothing is evaluated")});
  }
};

// A means to measure robustness: pairs of real data that are wrong and known to be, for training alone. The
// chosen samples, the first round(share * n) of the kept ones in an order keyed by `seed` and the sample,
// take each the captions of the next of them. Histograms and AUC of the signals count them as corrupted.
struct SwapCaptionsSpec {
  double share = 0;
  std::int64_t seed = 0;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("share", share,
            {.help = "share of the samples that get another's captions, to measure robustness",
             .least = 0,
             .most = 1});
    v.field("seed", seed, {.help = "which ones", .least = 0, .most = 9007199254740992.0});
  }
};

// kCaptioning: cross entropy of the next token, for a model whose text.kind is "decoder". kClassification: a
// head on the image tower.
enum class TrainObjective { kContrastive, kCaptioning, kClassification };
constexpr std::array<std::string_view, 3> names_of(TrainObjective) {
  return {"contrastive", "captioning", "classification"};
}
// The same bits for any W that divides the slots, or for the same W.
enum class Determinism { kCanonical, kRestart };
constexpr std::array<std::string_view, 2> names_of(Determinism) {
  return {"canonical", "restart"};
}

// gang. Contrastive training over the global batch, or teacher-forced training of a captioner.
struct TrainSettings {
  static constexpr const char* kKind = "train";
  std::string data;
  std::string model;  // a name in spec.models
  TrainObjective objective = TrainObjective::kContrastive;
  std::int64_t seed = 0;
  std::int64_t global_batch = 256;
  std::int64_t logical_slots = 8;  // divides global_batch; workers must divide it
  std::int64_t epochs = 1;
  std::optional<std::int64_t> steps;  // instead of epochs
  Precision precision = Precision::kFloat32;
  Determinism deterministic = Determinism::kCanonical;
  LossSpec loss;
  // Field of a sample's .json, or "stage:<name>" of a caption stage, or "own:<n>": its n-th caption, counted
  // from 1, as a captioner without error would write it, which then is no raw text; read where loss.texts is
  // "caption" or "both".
  std::string synthetic_caption = "synthetic_caption";
  SwapCaptionsSpec swap_captions;
  ConceptsSpec concepts;
  // Rows of a slot that are encoded at once; 0: all. Smaller chunks need less memory: embeddings first,
  // without graphs, the loss on the whole batch, then each chunk again with its graph. Same gradients.
  std::int64_t micro_batch = 0;
  OptimizerSpec optimizer;
  WeightAverageSpec average;
  GuardSpec guard;
  AugmentSpec augment;
  bool standardize_features = true;  // stored features: (f - mean)/(std + 1e-3), over the training set
  double feature_dropout = 0;        // stored image features
  EvaluateEverySpec evaluate_every;
  std::optional<ClassificationSpec> classification;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data set", .required = true});
    v.field("model", model, {.help = "a name in spec.models", .required = true});
    v.field(
        "objective", objective,
        {.help = "contrastive: loss over pairs; captioning: cross entropy of each next token, for a model "
                 "whose text.kind is decoder; classification: labels, by a head on the image tower"});
    v.field("seed", seed,
            {.help = "order, crops, captions, weights", .least = 0, .most = 9007199254740992.0});
    v.field("global_batch", global_batch,
            {.help = "samples per step over all workers", .least = 2, .most = 1048576});
    v.field("logical_slots", logical_slots,
            {.help = "fixed parts of a batch; a multiple of the worker count", .least = 1, .most = 65536});
    v.field("epochs", epochs, {.help = "passes over the data", .least = 1, .most = 1e6});
    v.field("steps", steps,
            {.help = "stop after so many steps, whatever the epochs", .least = 1, .most = 1e9});
    v.field("precision", precision, {.help = "arithmetic"});
    v.field("deterministic", deterministic,
            {.help = "canonical: the same bits for any worker count; restart: for the same count"});
    v.field("loss", loss, {.help = "what is minimised; default InfoNCE"});
    v.field(
        "synthetic_caption", synthetic_caption,
        {.help = "where synthetic captions come from (loss.texts caption or both): a field of the samples' "
                 ".json, stage:<name> of a caption stage, or own:<n>, the sample's n-th caption",
         .least = 1,
         .most = 256,
         .unread = unless(loss.texts != LossTexts::kRaw, "loss.texts is raw")});
    v.field("swap_captions", swap_captions, {.help = "wrong pairs on purpose, to measure robustness"});
    v.field("concepts", concepts, {.help = "DiHT's concept heads"});
    v.field("micro_batch", micro_batch,
            {.help = "rows of a slot encoded at once, for less memory; 0: all", .least = 0, .most = 1048576});
    v.field("optimizer", optimizer, {.help = "rule of the update and its schedule"});
    v.field("average", average, {.help = "moving average of the weights"});
    v.field("guard", guard, {.help = "loss or gradient that is not finite"});
    v.field("augment", augment, {.help = "random crop"});
    v.field("standardize_features", standardize_features,
            {.help = "stored features to zero mean and unit deviation"});
    v.field("feature_dropout", feature_dropout,
            {.help = "dropout of stored image features", .least = 0, .most = 0.95});
    v.field("evaluate_every", evaluate_every,
            {.help = "evaluation while training; the best checkpoint is kept"});
    v.field(
        "classification", classification,
        {.help = "the head of objective classification",
         .quiet = true,
         .unread = unless(objective == TrainObjective::kClassification, "objective is not classification")});
  }
};

// tally. A WordPiece vocabulary from captions, the same for any worker count, by the rules of Hugging Face's
// trainer. A model takes it as tokenizer.vocabulary "stage:<name>".
struct VocabularySettings {
  static constexpr const char* kKind = "vocabulary";
  std::vector<std::string> data;
  std::int64_t size = 100000;                   // ALIGN: 100 k, multilingual 250 k
  std::int64_t min_count = 1;                   // of a pair of pieces, to become one
  std::optional<std::int64_t> most_characters;  // null: all
  bool lower_case = true;
  std::optional<bool> strip_accents;  // as lower_case when null
  bool split_ideographs = true;
  std::int64_t partitions = 8;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets, counted together", .least = 1, .required = true});
    v.field("size", size,
            {.help = "pieces; ALIGN has 100000, multilingual 250000", .least = 16, .most = 4e6});
    v.field("min_count", min_count,
            {.help = "a pair of pieces becomes one when it occurs so often", .least = 1, .most = 1e12});
    v.field("most_characters", most_characters,
            {.help = "keep the most frequent characters only; null: all", .least = 16, .most = 1114112});
    v.field("lower_case", lower_case, {.help = "as the tokenizer that will use it"});
    v.field("strip_accents", strip_accents, {.help = "null means as lower_case"});
    v.field("split_ideographs", split_ideographs, {.help = "every CJK ideograph by itself"});
    v.field("partitions", partitions, {.help = "merge tasks", .least = 1, .most = 4096});
  }
};

using StageSettings =
    std::variant<FilterSettings, PairCountsSettings, EmbedSettings, TrainSettings, EvaluateSettings,
                 IndexSettings, VocabularySettings, NgramCountsSettings, DuplicatesSettings, ExportSettings,
                 CaptionSettings, ConceptVocabularySettings, ConceptsSettings, NearDuplicatesSettings,
                 PairScoresSettings>;

// The name of each alternative of StageSettings, in its order.
inline const std::vector<std::string>& stage_kinds() {
  static const auto kinds = []<std::size_t... I>(std::index_sequence<I...>) {
    return std::vector<std::string>{std::variant_alternative_t<I, StageSettings>::kKind...};
  }
  (std::make_index_sequence<std::variant_size_v<StageSettings>>());
  return kinds;
}

// Name, kind and needs stand in the job file beside the settings of the kind.
struct StageSpec {
  std::string name;
  std::vector<std::string> needs;
  StageSettings settings;
  bool readable = true;  // false after a fault in its kind: what it is, and its settings, cannot be told

  const std::string& kind() const { return stage_kinds()[settings.index()]; }

  // `kind`: the name of the kind, for reading and writing.
  template <class Visitor>
  void visit_head(Visitor& v, std::string& kind) {
    v.field("name", name, {.help = "unique; a-z, 0-9, _ and -", .least = 1, .most = 64, .required = true});
    v.field("kind", kind, {.help = "what the stage does", .choices = stage_kinds(), .required = true});
    v.field("needs", needs, {.help = "stages whose results it uses"});
  }
};

}  // namespace trireme::jobs

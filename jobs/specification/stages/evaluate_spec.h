// Settings of an evaluate stage.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/specification/json/fields.h"

namespace trireme::jobs {

enum class EvaluateTask {
  kAuto,  // zero_shot or retrieval, by what the data has
  kZeroShot,
  kRetrieval,
  kLinearProbe,
  kKnn,
  kFewShot,
  kCaptions,    // BLEU, ROUGE-L, CIDEr of `captions` against the data's own
  kMultiLabel,  // mean average precision over classes
  kChoice,      // which of a picture's captions fits: the first does (SugarCrepe); of the pictures and
                // captions of an item each its own (Winoground)
  kRatings,     // Crisscrossed Captions: four retrievals, and how similarities follow people's ratings
  kWords,       // SimLex-999: the same of pairs of words, without pictures
  kEntailment,  // SNLI-VE: what a picture says of a caption, by two thresholds of their cosine
  kAnswers,     // VQAv2: which answer of a list fits picture and question
  kAnalogies    // picture + words -> the picture so edited, on rendered scenes
};
constexpr std::array<std::string_view, 14> names_of(EvaluateTask) {
  return {"auto",        "zero_shot", "retrieval", "linear_probe",    "knn",        "few_shot", "captions",
          "multi_label", "choice",    "ratings",   "word_similarity", "entailment", "answers",  "analogies"};
}

// Metrics that are measured only when asked for: of zero-shot classification, the last two of retrieval.
enum class AlsoMetric { kRocAuc, kMacroF1, kWorstGroup, kMeanRecall, kTextToText };
constexpr std::array<std::string_view, 5> names_of(AlsoMetric) {
  return {"roc_auc", "macro_f1", "worst_group", "mean_recall", "text_to_text"};
}

// What a probe learns from.
enum class FeatureSpace { kAuto, kEmbedding, kTower };
constexpr std::array<std::string_view, 3> names_of(FeatureSpace) {
  return {"auto", "embedding", "tower"};
}

// A linear probe is learnt in so many parts, which a fixed tree adds up: by 1, 2, 4 or 8 workers, with the
// same result.
inline constexpr std::int64_t kProbeSlots = 8;

// map (embeddings of the trained model) and one merge. Definitions and JSON of CLIP_benchmark 1.6.1; the
// probes are METHODS 2.6, 7.3 and 7.4.
struct EvaluateSettings {
  static constexpr const char* kKind = "evaluate";
  std::string data;
  std::string model;  // a train stage in needs ("stage:" or not), or a name in spec.models; none for
                      // task "captions"
  EvaluateTask task = EvaluateTask::kAuto;
  std::string train_data;       // what the probes learn from
  std::string validation_data;  // what linear_probe chooses its penalty by
  std::string captions;         // "stage:<name>" of a caption stage, a file of its lines or a folder of such
  std::vector<std::string> templates;  // zero-shot prompts, {c} is the class; empty: the file beside the
                                       // shards, or "a photo of a {c}."
  std::vector<std::int64_t> recall_k = {1, 5, 10};
  std::vector<std::int64_t> shots = {1, 2, 4, 8, 16};
  std::int64_t shot_seeds = 3;
  std::int64_t seed = 0;
  std::string prompts;   // "en:cars": names and templates of the clip-benchmark wheel; or a folder of lists
  std::string language;  // told beside the result; empty: that of `prompts`, else en
  std::string text_prompt;
  std::optional<std::int64_t> fold_images, class_count;
  std::vector<AlsoMetric> also;
  std::string label_field, group_field;
  FeatureSpace features = FeatureSpace::kAuto;
  std::vector<std::string> ratings;
  std::string image_id_field, caption_id_field;
  std::string answers, question_field, answers_field;

  template <class Visitor>
  void visit(Visitor& v) {
    const bool few = task == EvaluateTask::kFewShot;
    const bool has_prompts = few || task == EvaluateTask::kAuto || task == EvaluateTask::kZeroShot ||
                             task == EvaluateTask::kMultiLabel;
    v.field("data", data, {.help = "data set; none for task word_similarity"});
    v.field(
        "model", model,
        {.help = "what is evaluated: a train stage among the needs (its name, or stage:<name>), or a name "
                 "in spec.models; none for task captions"});
    v.field("task", task, {.help = "what to measure; the probes learn from train_data"});
    v.field("train_data", train_data,
            {.help = "labelled data set that linear_probe, knn and few_shot learn from"});
    v.field("captions", captions,
            {.help = "task captions: stage:<caption stage>, a file of JSON lines {key, caption}, or a folder "
                     "of such"});
    v.field("templates", templates,
            {.help = "zero-shot prompts; {c} is the class name",
             .unread = unless(has_prompts, "only zero_shot, multi_label and few_shot have prompts")});
    v.field("recall_k", recall_k,
            {.help = "k of R@k, of retrieval, ratings, knn and analogies",
             .least = 1,
             .most = 16,
             .unread = unless(task == EvaluateTask::kAuto || task == EvaluateTask::kRetrieval ||
                                  task == EvaluateTask::kKnn || task == EvaluateTask::kRatings ||
                                  task == EvaluateTask::kAnalogies,
                              "R@k is of retrieval, ratings, knn and analogies")});
    v.field("shots", shots,
            {.help = "few_shot: samples per class",
             .least = 1,
             .most = 16,
             .unread = unless(few, "only few_shot draws shots")});
    v.field("shot_seeds", shot_seeds,
            {.help = "few_shot: draws per number of shots",
             .least = 1,
             .most = 100,
             .unread = unless(few, "only few_shot draws shots")});
    v.field("seed", seed,
            {.help = "few_shot: the draws; linear_probe: what is held out; ratings: the bootstrap",
             .least = 0,
             .most = 9007199254740992.0,
             .unread = unless(few || task == EvaluateTask::kLinearProbe || task == EvaluateTask::kRatings,
                              "only few_shot, linear_probe and ratings draw")});
    visit_protocol(v, has_prompts);
    visit_files(v);
  }

 private:
  // What benchmarks add to a task.
  template <class Visitor>
  void visit_protocol(Visitor& v, bool has_prompts) {
    const bool automatic = task == EvaluateTask::kAuto;
    const bool labels = automatic || task == EvaluateTask::kZeroShot;
    const bool texts = automatic || task == EvaluateTask::kRetrieval || task == EvaluateTask::kChoice ||
                       task == EvaluateTask::kRatings || task == EvaluateTask::kEntailment;
    v.field(
        "prompts", prompts,
        {.help = "class names and prompts of a set of CLIP_benchmark, as <language>:<set> (en:cifar10); or a "
                 "folder, with a slash, that holds classnames.txt, zeroshot_classification_templates.txt "
                 "or both",
         .quiet = true,
         .unread = unless(has_prompts, "only zero_shot, multi_label and few_shot have prompts")});
    v.field("language", language,
            {.help = "of the texts, told beside the result; empty: that of prompts, else en", .quiet = true});
    v.field("text_prompt", text_prompt,
            {.help = "what captions are put into, {c} being the caption: \"a photo of {c}\" (ALIP)",
             .quiet = true,
             .unread = unless(texts, "only retrieval, choice, ratings and entailment have captions")});
    v.field(
        "fold_images", fold_images,
        {.help = "retrieval: within every so many images in a row, and the mean over these folds (1000: the "
                 "COCO 1k protocol)",
         .least = 2,
         .most = 1e9,
         .quiet = true,
         .unread = unless(automatic || task == EvaluateTask::kRetrieval, "only retrieval has folds")});
    v.field("class_count", class_count,
            {.help = "classes that the set must have; another number is refused",
             .least = 1,
             .most = 1e6,
             .quiet = true,
             .unread = unless(has_prompts, "only zero_shot, multi_label and few_shot have class names")});
    v.field(
        "also", also,
        {.help =
             "further metrics. zero_shot: roc_auc (two classes, the second one's score less the first's), "
             "macro_f1, worst_group (needs group_field); retrieval: mean_recall over every k both ways, "
             "text_to_text (the other captions of a caption's picture)",
         .quiet = true,
         .unread =
             unless(labels || task == EvaluateTask::kRetrieval, "only zero_shot and retrieval have them")});
    v.field("label_field", label_field,
            {.help = "member of .json that holds a sample's class (zero_shot) or lists its classes "
                     "(multi_label), by number or name; empty: .cls, and .npy members",
             .quiet = true,
             .unread = unless(task == EvaluateTask::kMultiLabel || task == EvaluateTask::kZeroShot,
                              "only zero_shot and multi_label read labels in .json")});
    v.field(
        "group_field", group_field,
        {.help =
             "member of .json that names a sample's group (worst_group) or, of task choice, the item whose "
             "pictures belong together (Winoground)",
         .quiet = true,
         .unread = unless(labels || task == EvaluateTask::kChoice, "only zero_shot and choice have groups")});
  }

  // What beside pictures and captions a benchmark is made of.
  template <class Visitor>
  void visit_files(Visitor& v) {
    const bool rated = task == EvaluateTask::kRatings, asked = task == EvaluateTask::kAnswers;
    v.field(
        "features", features,
        {.help = "linear_probe and knn: what is learnt from, the embedding (also what auto means) or what "
                 "the image tower gives before the projection",
         .quiet = true,
         .unread = unless(task == EvaluateTask::kLinearProbe || task == EvaluateTask::kKnn,
                          "only linear_probe and knn can do without the embedding")});
    v.field(
        "validation_data", validation_data,
        {.help = "linear_probe: labelled data set that the penalty is chosen by; empty: what is held out of "
                 "train_data",
         .quiet = true,
         .unread = unless(task == EvaluateTask::kLinearProbe, "only linear_probe chooses a penalty")});
    v.field("ratings", ratings,
            {.help = "ratings: the .csv files of Crisscrossed Captions (sis, sits, sts), as they are or .gz; "
                     "word_similarity: SimLex-999.txt",
             .quiet = true,
             .unread = unless(rated || task == EvaluateTask::kWords,
                              "only ratings and word_similarity compare with people")});
    v.field("image_id_field", image_id_field,
            {.help = "ratings: member of .json with a picture's file name; empty: the sample's key is it",
             .quiet = true,
             .unread = unless(rated, "only ratings name pictures")});
    v.field("caption_id_field", caption_id_field,
            {.help = "ratings: member of .json that lists the ids of a picture's captions in their order; "
                     "empty: sentids",
             .quiet = true,
             .unread = unless(rated, "only ratings name captions")});
    v.field("answers", answers,
            {.help = "answers: a file with the possible answers, one a line",
             .quiet = true,
             .unread = unless(asked, "only answers chooses among some")});
    v.field("question_field", question_field,
            {.help = "answers: member of .json with the question; empty: question",
             .quiet = true,
             .unread = unless(asked, "only answers asks")});
    v.field("answers_field", answers_field,
            {.help = "answers: member of .json with the answers of people; empty: answers",
             .quiet = true,
             .unread = unless(asked, "only answers asks")});
  }
};

}  // namespace trireme::jobs

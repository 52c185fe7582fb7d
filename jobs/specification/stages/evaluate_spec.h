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
  kChoice       // which of a picture's captions fits: the first does (SugarCrepe); of the pictures and
                // captions of an item each its own (Winoground)
};
constexpr std::array<std::string_view, 9> names_of(EvaluateTask) {
  return {"auto",     "zero_shot", "retrieval",   "linear_probe", "knn",
          "few_shot", "captions",  "multi_label", "choice"};
}

// Metrics that are measured only when asked for: of zero-shot classification, the last of retrieval.
enum class AlsoMetric { kRocAuc, kMacroF1, kWorstGroup, kMeanRecall };
constexpr std::array<std::string_view, 4> names_of(AlsoMetric) {
  return {"roc_auc", "macro_f1", "worst_group", "mean_recall"};
}

// map (embeddings of the trained model) and one merge. Definitions and JSON of CLIP_benchmark 1.6.1; the
// probes are METHODS 2.6, 7.3 and 7.4.
struct EvaluateSettings {
  static constexpr const char* kKind = "evaluate";
  std::string data;
  std::string model;  // a train stage in needs ("stage:" or not), or a name in spec.models; none for
                      // task "captions"
  EvaluateTask task = EvaluateTask::kAuto;
  std::string train_data;  // what the probes learn from
  std::string captions;    // "stage:<name>" of a caption stage, a file of its lines or a folder of such
  std::vector<std::string> templates;  // zero-shot prompts, {c} is the class; empty: the file beside the
                                       // shards, or "a photo of a {c}."
  std::vector<std::int64_t> recall_k = {1, 5, 10};
  std::vector<std::int64_t> shots = {1, 2, 4, 8, 16};
  std::int64_t shot_seeds = 3;
  std::int64_t seed = 0;
  std::string prompts;   // "en:cars": names and templates of the clip-benchmark wheel
  std::string language;  // told beside the result; empty: that of `prompts`, else en
  std::string text_prompt;
  std::optional<std::int64_t> fold_images, class_count;
  std::vector<AlsoMetric> also;
  std::string label_field, group_field;

  template <class Visitor>
  void visit(Visitor& v) {
    const bool few = task == EvaluateTask::kFewShot;
    const bool has_prompts = few || task == EvaluateTask::kAuto || task == EvaluateTask::kZeroShot ||
                             task == EvaluateTask::kMultiLabel;
    v.field("data", data, {.help = "data set", .required = true});
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
            {.help = "k of R@k, of retrieval and knn",
             .least = 1,
             .most = 16,
             .unread = unless(task == EvaluateTask::kAuto || task == EvaluateTask::kRetrieval ||
                                  task == EvaluateTask::kKnn,
                              "R@k is of retrieval and knn")});
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
    v.field(
        "seed", seed,
        {.help = "few_shot: the draws; linear_probe: what is held out",
         .least = 0,
         .most = 9007199254740992.0,
         .unread = unless(few || task == EvaluateTask::kLinearProbe, "only few_shot and linear_probe draw")});
    visit_protocol(v, has_prompts);
  }

 private:
  // What benchmarks add to a task.
  template <class Visitor>
  void visit_protocol(Visitor& v, bool has_prompts) {
    const bool automatic = task == EvaluateTask::kAuto;
    const bool labels = automatic || task == EvaluateTask::kZeroShot;
    const bool texts = automatic || task == EvaluateTask::kRetrieval || task == EvaluateTask::kChoice;
    v.field("prompts", prompts,
            {.help = "class names and prompts of a set of CLIP_benchmark, as <language>:<set> (en:cifar10)",
             .quiet = true,
             .unread = unless(has_prompts, "only zero_shot, multi_label and few_shot have prompts")});
    v.field("language", language,
            {.help = "of the texts, told beside the result; empty: that of prompts, else en", .quiet = true});
    v.field("text_prompt", text_prompt,
            {.help = "what captions are put into, {c} being the caption: \"a photo of {c}\" (ALIP)",
             .quiet = true,
             .unread = unless(texts, "only retrieval and choice have captions")});
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
             "macro_f1, worst_group (needs group_field); retrieval: mean_recall over every k both ways",
         .quiet = true,
         .unread =
             unless(labels || task == EvaluateTask::kRetrieval, "only zero_shot and retrieval have them")});
    v.field("label_field", label_field,
            {.help = "multi_label: member of .json that lists a sample's classes, by number or name",
             .quiet = true,
             .unread = unless(task == EvaluateTask::kMultiLabel, "only multi_label has several labels")});
    v.field(
        "group_field", group_field,
        {.help =
             "member of .json that names a sample's group (worst_group) or, of task choice, the item whose "
             "pictures belong together (Winoground)",
         .quiet = true,
         .unread = unless(labels || task == EvaluateTask::kChoice, "only zero_shot and choice have groups")});
  }
};

}  // namespace trireme::jobs

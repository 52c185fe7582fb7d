#include "jobs/specification/checks/check_evaluate.h"

#include <algorithm>
#include <set>

#include "jobs/specification/json/json_document.h"
#include "jobs/specification/json/names.h"
#include "jobs/specification/prompt_template.h"

namespace trireme::jobs {

void check_protocol(const EvaluateSettings& s, const std::string& here, std::vector<SpecFault>& faults) {
  const auto fault = [&](const std::string& pointer, const std::string& code, const std::string& detail,
                         const std::string& hint = "") {
    faults.push_back({pointer, code, detail, hint});
  };
  const auto asks = [&](AlsoMetric metric) { return std::ranges::find(s.also, metric) != s.also.end(); };
  if (!s.prompts.empty() && !is_prompt_folder(s.prompts) && s.prompts.find(':') == std::string::npos)
    fault(here + "/prompts", "invalid", quoted(s.prompts) + " names no language",
          "en:cifar10 is a set in English; a folder with lists of your own has a slash: ./mine");
  if (!s.prompts.empty() && !s.templates.empty())
    fault(here + "/templates", "invalid", "prompts brings templates, too", "leave one of the two out");
  if (!s.text_prompt.empty() && !has_class_place(s.text_prompt))
    fault(here + "/text_prompt", "invalid", "the prompt does not hold {c}", "{c} stands for the caption");
  if (asks(AlsoMetric::kWorstGroup) && s.group_field.empty())
    fault(here + "/group_field", "missing", "worst_group needs groups",
          "name a member of the samples' .json");
  if (!s.group_field.empty() && !asks(AlsoMetric::kWorstGroup) && s.task != EvaluateTask::kChoice)
    fault(here + "/group_field", "invalid", "nothing is measured by group", "add \"worst_group\" to also");
  for (const auto metric : {AlsoMetric::kMeanRecall, AlsoMetric::kTextToText})
    if (asks(metric) && s.task == EvaluateTask::kZeroShot)
      fault(here + "/also", "invalid", std::string(name_of(metric)) + " is of retrieval", "leave it out");
  if (asks(AlsoMetric::kTextToText) && s.fold_images)
    fault(here + "/also", "invalid", "text_to_text has no folds", "leave one of the two out");
  if (!s.validation_data.empty() && (s.validation_data == s.data || s.validation_data == s.train_data))
    fault(here + "/validation_data", "invalid", "is a data set that the stage reads already",
          "select another part of it, for example with \"select\"");
  const bool rated = s.task == EvaluateTask::kRatings || s.task == EvaluateTask::kWords;
  if (rated && s.ratings.empty())
    fault(here + "/ratings", "missing", "task " + std::string(name_of(s.task)) + " compares with ratings",
          s.task == EvaluateTask::kWords ? "name SimLex-999.txt"
                                         : "name the .csv files of Crisscrossed Captions");
  if (s.task == EvaluateTask::kWords && s.ratings.size() > 1)
    fault(here + "/ratings", "invalid", "word_similarity reads one file");
  if (s.task == EvaluateTask::kAnswers && s.answers.empty())
    fault(here + "/answers", "missing", "task answers chooses among answers", "name a file with one a line");
  for (const auto metric : {AlsoMetric::kRocAuc, AlsoMetric::kMacroF1, AlsoMetric::kWorstGroup})
    if (asks(metric) && s.task == EvaluateTask::kRetrieval)
      fault(here + "/also", "invalid", std::string(name_of(metric)) + " is of zero_shot", "leave it out");
  for (std::size_t i = 0; i < s.shots.size(); ++i)
    if (s.shots[i] < 1 || s.shots[i] > 1000000)
      fault(here + "/shots/" + std::to_string(i), "out_of_range", "shots lie between 1 and 1000000");
  std::set<std::int64_t> seen;
  for (std::size_t i = 0; i < s.recall_k.size(); ++i) {
    const std::string pointer = here + "/recall_k/" + std::to_string(i);
    if (s.recall_k[i] < 1 || s.recall_k[i] > 1000000)
      fault(pointer, "out_of_range", "k lies between 1 and 1000000");
    if (!seen.insert(s.recall_k[i]).second) fault(pointer, "duplicate_name", "the same k twice");
  }
  for (std::size_t i = 0; i < s.templates.size(); ++i)
    if (!has_class_place(s.templates[i]))
      fault(here + "/templates/" + std::to_string(i), "invalid", "the template does not hold {c}",
            "{c} or {} stands for the class name");
}

void check_start(const PipelineSpec& spec, const std::string& name, const std::string& here,
                 const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults) {
  const auto fault = [&](const std::string& pointer, const std::string& code, const std::string& detail,
                         const std::string& hint = "") {
    faults.push_back({pointer, code, detail, hint});
  };
  const auto model = spec.models.find(name);
  if (model == spec.models.end()) return;
  for (const std::string& start : starting_stages(model->second)) {
    const std::string at = "/spec/models" + pointer_token(name) +
                           (named_stage(model->second.init_from) == start ? "/init_from" : "/blend/with");
    const auto stage = std::ranges::find(spec.stages, start, &StageSpec::name);
    const auto* train = stage == spec.stages.end() ? nullptr : std::get_if<TrainSettings>(&stage->settings);
    if (train == nullptr) {
      fault(at, "unknown_name", "there is no train stage " + quoted(start));
    } else if (std::ranges::find(needs, start, &StageSpec::name) == needs.end()) {
      fault(here + "/needs", "invalid",
            "model " + quoted(name) + " starts from the weights of stage " + quoted(start),
            "add it to \"needs\"");
    } else if ((train->objective == TrainObjective::kCaptioning) !=
               (model->second.text.kind == TextTowerKind::kDecoder)) {
      fault(at, "invalid",
            "stage " + quoted(start) + " trains a model of another kind (objective " +
                std::string(name_of(train->objective)) + ")",
            "start from a stage whose model has the same towers");
    }
  }
}

void check_probe(const PipelineSpec& spec, const TrainSettings& settings, const std::string& here,
                 const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults) {
  const ClassificationSpec head = settings.classification.value_or(ClassificationSpec{});
  if (settings.objective != TrainObjective::kClassification || head.head != HeadStart::kProbe) return;
  const auto fault = [&](const std::string& field, const std::string& code, const std::string& detail,
                         const std::string& hint) {
    faults.push_back({here + field, code, detail, hint});
  };
  const std::string name = named_stage(head.probe);
  if (head.multi_label)
    fault("/classification/multi_label", "invalid", "a linear probe learns single labels", "leave it out");
  const auto stage = std::ranges::find(spec.stages, name, &StageSpec::name);
  const auto* probe =
      name.empty() || stage == spec.stages.end() ? nullptr : std::get_if<EvaluateSettings>(&stage->settings);
  if (probe == nullptr || probe->task != EvaluateTask::kLinearProbe)
    return fault("/classification/probe", "unknown_name",
                 quoted(head.probe) + " is no evaluate stage of task linear_probe", "write stage:<its name>");
  if (std::ranges::find(needs, name, &StageSpec::name) == needs.end())
    fault("/needs", "invalid", "the head starts as the probe of stage " + quoted(name),
          "add it to \"needs\"");
  if ((probe->features == FeatureSpace::kTower) == head.embedding)
    fault("/classification/embedding", "invalid",
          "stage " + quoted(name) + " probes the " + (head.embedding ? "tower's output" : "embedding") +
              ", the head reads the " + (head.embedding ? "embedding" : "tower's output"),
          "set embedding, or features of that stage");
  const auto model = spec.models.find(settings.model);
  if (model == spec.models.end()) return;
  const std::string trained = evaluated_stage(spec, probe->model);
  const auto given = spec.models.find(probe->model);
  const std::string& start = model->second.init_from;
  const bool same = !trained.empty()
                        ? named_stage(start) == trained
                        : given != spec.models.end() && !start.empty() && given->second.init_from == start;
  if (!same)
    fault("/model", "invalid",
          "stage " + quoted(name) + " probes other weights than model " + quoted(settings.model) +
              " starts from",
          "give both the same init_from");
}

}  // namespace trireme::jobs

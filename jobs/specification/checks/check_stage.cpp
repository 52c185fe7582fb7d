#include "jobs/specification/checks/check_stage.h"

#include <algorithm>
#include <concepts>

#include "jobs/specification/checks/check.h"
#include "jobs/specification/checks/check_concepts.h"
#include "jobs/specification/checks/check_evaluate.h"
#include "jobs/specification/checks/check_filter.h"
#include "jobs/specification/checks/check_training.h"
#include "jobs/specification/checks/check_unread.h"
#include "jobs/specification/json/json_document.h"
#include "jobs/specification/json/names.h"

namespace trireme::jobs {
namespace {

template <class Map>
std::vector<std::string> keys_of(const Map& map) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  return keys;
}

// Of which nothing can be said but what holds for every list of data sets.
template <class Settings, class... These>
concept OneOf = (std::same_as<Settings, These> || ...);
template <class Settings>
concept OnlyData = OneOf<Settings, PairCountsSettings, NgramCountsSettings, DuplicatesSettings,
                         ExportSettings, VocabularySettings, ConceptVocabularySettings>;

class StageChecker {
 public:
  StageChecker(const PipelineSpec& spec, std::size_t index, std::set<std::string>& used_data,
               std::vector<SpecFault>& faults)
      : spec_(spec),
        stage_(spec.stages[index]),
        here_("/spec/stages/" + std::to_string(index)),
        needs_(all_needs(spec.stages, stage_)),
        used_data_(used_data),
        faults_(faults) {}

  void run() {
    if (!stage_.readable) return;
    std::visit([&](const auto& settings) { check(settings); }, stage_.settings);
    check_unread(stage_.settings, here_, faults_);
  }

 private:
  void fault(const std::string& pointer, const std::string& code, const std::string& detail,
             const std::string& hint = "") {
    add_fault(faults_, {pointer, code, detail, hint});
  }

  void known_data(const std::string& name, const std::string& pointer) {
    if (name.empty()) return;  // "missing" has been reported, or an optional field
    if (spec_.data.contains(name))
      used_data_.insert(name);
    else
      fault(pointer, "unknown_name", "there is no data set " + quoted(name),
            meant(name, keys_of(spec_.data)));
  }

  void required_data(const std::string& name, const std::string& field) {
    if (name.empty() && stage_was_read(field))
      fault(here_ + "/" + field, "missing", "a data set is required");
    known_data(name, here_ + "/" + field);
  }

  // Only when reading has not reported it already.
  bool stage_was_read(const std::string& field) const {
    return std::ranges::none_of(faults_,
                                [&](const SpecFault& f) { return f.pointer == here_ + "/" + field; });
  }

  void data_list(const std::vector<std::string>& names) {
    std::set<std::string> seen;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::string pointer = here_ + "/data/" + std::to_string(i);
      required_data(names[i], "data/" + std::to_string(i));
      if (!seen.insert(names[i]).second)
        fault(pointer, "duplicate_name", quoted(names[i]) + " is listed twice");
    }
  }

  const ModelSpec* known_model(const std::string& name) {
    const auto found = spec_.models.find(name);
    if (found != spec_.models.end()) return &found->second;
    if (stage_was_read("model"))
      fault(here_ + "/model", "unknown_name", "there is no model " + quoted(name) + " in spec.models",
            meant(name, keys_of(spec_.models)));
    return nullptr;
  }

  // A train stage among the needs, or a dual encoder of spec.models whatever its weights.
  void evaluated_model(const std::string& name) {
    const std::string stage = evaluated_stage(spec_, name);
    if (!stage.empty() && named_stage(name).empty() && spec_.models.contains(name))
      return fault(here_ + "/model", "invalid",
                   quoted(name) + " is a train stage and a name in spec.models, too",
                   "write \"stage:" + name + "\" for the stage, or give the model another name");
    if (!stage.empty() || !spec_.models.contains(name)) return trained_model(stage.empty() ? name : stage);
    made_vocabulary(name);
    if (spec_.models.at(name).text.kind == TextTowerKind::kDecoder)
      fault(here_ + "/model", "invalid", "model " + quoted(name) + " is a captioner, which has no embeddings",
            "name a model with a text tower");
  }

  // A model whose vocabulary another stage makes: that stage comes first and splits words in the same way.
  void made_vocabulary(const std::string& model_name) {
    const auto model = spec_.models.find(model_name);
    if (model == spec_.models.end()) return;
    check_start(spec_, model_name, here_, needs_, faults_);
    const TokenizerSpec& tokenizer = model->second.text.tokenizer;
    const std::string name = vocabulary_stage(tokenizer);
    if (name.empty()) return;
    const std::string at = "/spec/models" + pointer_token(model_name) + "/text/tokenizer/";
    std::vector<std::string> made;
    for (const StageSpec& stage : spec_.stages)
      if (std::holds_alternative<VocabularySettings>(stage.settings)) made.push_back(stage.name);
    if (std::ranges::find(made, name) == made.end())
      return fault(at + "vocabulary", "unknown_name", "there is no vocabulary stage " + quoted(name),
                   meant(name, made));
    const auto need = std::ranges::find(needs_, name, &StageSpec::name);
    if (need == needs_.end())
      return fault(here_ + "/needs", "invalid",
                   "model " + quoted(model_name) + " takes its vocabulary from stage " + quoted(name),
                   "add it to \"needs\"");
    if (tokenizer.kind != TokenizerKind::kWordPiece)
      return fault(at + "kind", "invalid", "a vocabulary stage makes vocabularies for wordpiece");
    const auto* settings = std::get_if<VocabularySettings>(&(*need)->settings);
    if (settings != nullptr && (settings->lower_case != tokenizer.lower_case ||
                                settings->split_ideographs != tokenizer.split_ideographs ||
                                settings->strip_accents.value_or(settings->lower_case) !=
                                    tokenizer.strip_accents.value_or(tokenizer.lower_case)))
      fault(at + "vocabulary", "invalid", "stage " + quoted(name) + " splits words by other rules",
            "give both the same lower_case, strip_accents and split_ideographs");
  }

  void trained_model(const std::string& name) {
    std::vector<std::string> trained;
    for (const StageSpec* need : needs_)
      if (std::holds_alternative<TrainSettings>(need->settings)) trained.push_back(need->name);
    for (const auto& [given, model] : spec_.models) trained.push_back(given);
    if (!stage_was_read("model")) return;
    const auto need = std::ranges::find(needs_, name, &StageSpec::name);
    if (need != needs_.end() && std::holds_alternative<TrainSettings>((*need)->settings)) {
      if (trains_captioner(name))
        fault(here_ + "/model", "invalid", "the train stage " + quoted(name) + " trains a captioner",
              "a caption stage takes it, as \"model\": \"stage:" + name + "\"");
      return;
    }
    const bool exists = std::ranges::any_of(spec_.stages, [&](const StageSpec& s) {
      return s.name == name && std::holds_alternative<TrainSettings>(s.settings);
    });
    if (exists)
      fault(here_ + "/model", "unknown_name", "the train stage " + quoted(name) + " is not among the needs",
            "add it to \"needs\"");
    else
      fault(here_ + "/model", "unknown_name", "there is no train stage " + quoted(name),
            meant(name, trained));
  }

  bool trains_captioner(const std::string& stage) const {
    const auto found = std::ranges::find(spec_.stages, stage, &StageSpec::name);
    const auto* train = found == spec_.stages.end() ? nullptr : std::get_if<TrainSettings>(&found->settings);
    return train != nullptr && train->objective == TrainObjective::kCaptioning;
  }

  void check(const CaptionSettings& s) {
    data_list(s.data);
    if (s.min_length > s.max_length) fault(here_ + "/min_length", "invalid", "is above max_length");
    const std::string trained = named_stage(s.model);
    std::int64_t positions = 0;
    if (trained.empty()) {
      const ModelSpec* model = known_model(s.model);
      made_vocabulary(s.model);
      if (model == nullptr) return;
      positions = model->text.positions;
      if (model->text.kind != TextTowerKind::kDecoder)
        fault(here_ + "/model", "invalid",
              "model " + quoted(s.model) + " cannot write: its text.kind is " +
                  std::string(name_of(model->text.kind)),
              "name a captioner, whose text.kind is \"decoder\"");
      else if (model->init_from.empty() && (model->image.weights.empty() || model->text.weights.empty()))
        fault(here_ + "/model", "invalid", "captioner " + quoted(s.model) + " has no weights",
              "set init_from, or train it and name \"stage:<train stage>\"");
    } else {
      const bool needed =
          std::ranges::any_of(needs_, [&](const StageSpec* need) { return need->name == trained; });
      if (!trains_captioner(trained))
        fault(here_ + "/model", "unknown_name",
              "there is no train stage " + quoted(trained) + " with objective captioning");
      else if (!needed)
        fault(here_ + "/model", "unknown_name",
              "the train stage " + quoted(trained) + " is not among the needs", "add it to \"needs\"");
      for (const StageSpec* need : needs_)
        if (const auto* train = std::get_if<TrainSettings>(&need->settings);
            train != nullptr && need->name == trained && spec_.models.contains(train->model))
          positions = spec_.models.at(train->model).text.positions;
    }
    if (positions > 0 && s.max_length > positions)
      fault(here_ + "/max_length", "out_of_range",
            std::to_string(s.max_length) + " tokens are above the decoder's positions " +
                std::to_string(positions));
  }

  void check(const FilterSettings& s) {
    data_list(s.data);
    check_filter(spec_, s, here_, needs_, faults_);
  }

  template <class Settings>
  void check(const Settings& s) requires(OnlyData<Settings>) {
    data_list(s.data);
  }

  void check(const NearDuplicatesSettings& s) {
    data_list(s.data);
    if (s.by != NearBy::kEmbedding) {
      if (!s.model.empty())
        fault(here_ + "/model", "invalid",
              "near-duplicates by " + std::string(name_of(s.by)) + " need no model",
              "leave it out, or choose \"by\": \"embedding\"");
      return;
    }
    if (s.model.empty())
      return fault(here_ + "/model", "missing", "embeddings come from a model",
                   "name one of spec.models, or \"stage:<train stage>\"");
    if (const std::string trained = named_stage(s.model); !trained.empty()) return trained_model(trained);
    const ModelSpec* model = known_model(s.model);
    made_vocabulary(s.model);
    if (model != nullptr && (!model->image.frozen || model->text.kind == TextTowerKind::kDecoder))
      fault(here_ + "/model", "invalid", "model " + quoted(s.model) + " has no frozen image tower to run",
            "set \"frozen\": true on its image tower, or name \"stage:<train stage>\"");
  }

  template <class Settings>
  void check(const Settings& s) requires(Settings::kWholeModel) {
    data_list(s.data);
    if (const std::string trained = named_stage(s.model); !trained.empty()) return trained_model(trained);
    const ModelSpec* model = known_model(s.model);
    made_vocabulary(s.model);
    if (model == nullptr) return;
    if (model->text.kind == TextTowerKind::kDecoder)
      fault(here_ + "/model", "invalid",
            "model " + quoted(s.model) + " is a captioner, which has no similarity",
            "name a model with a text tower");
    else if (model->init_from.empty() || !model->image.frozen || !model->text.frozen)
      fault(here_ + "/model", "invalid",
            "model " + quoted(s.model) + " is not whole: similarity takes both towers and their projections",
            "set its init_from to a checkpoint and \"frozen\": true on both towers, or name "
            "\"stage:<train stage>\"");
  }

  void check(const ConceptsSettings& s) {
    data_list(s.data);
    check_concepts(spec_, s, here_, needs_, faults_);
  }

  void check(const EmbedSettings& s) {
    data_list(s.data);
    const ModelSpec* model = known_model(s.model);
    made_vocabulary(s.model);
    if (model != nullptr && model->text.kind == TextTowerKind::kDecoder)
      return fault(here_ + "/model", "invalid",
                   "model " + quoted(s.model) + " is a captioner, which has no features to store");
    if (model != nullptr && !model->image.frozen && !model->text.frozen)
      fault(here_ + "/model", "invalid", "model " + quoted(s.model) + " has no frozen tower to run",
            "set \"frozen\": true on a tower, or leave the embed stage out");
  }

  void check(const TrainSettings& s) {
    required_data(s.data, "data");
    known_model(s.model);
    made_vocabulary(s.model);
    if (s.global_batch % s.logical_slots != 0)
      fault(here_ + "/global_batch", "invalid",
            std::to_string(s.global_batch) + " is no multiple of logical_slots " +
                std::to_string(s.logical_slots));
    const EvaluateEverySpec& every = s.evaluate_every;
    if (every.steps > 0 && every.data.empty())
      fault(here_ + "/evaluate_every/data", "missing", "steps is set, so a data set is required");
    known_data(every.data, here_ + "/evaluate_every/data");
    if (s.augment.scale_min > s.augment.scale_max)
      fault(here_ + "/augment/scale_max", "invalid", "is below scale_min");
    if (s.augment.aspect_min > s.augment.aspect_max)
      fault(here_ + "/augment/aspect_max", "invalid", "is below aspect_min");
    check_training(spec_, s, here_, faults_);
    check_images(spec_, s, here_, needs_, faults_);
    check_probe(spec_, s, here_, needs_, faults_);
    check_concepts(spec_, s, here_, needs_, faults_);
    if (s.loss.texts == LossTexts::kRaw) return;
    if (!named_stage(s.synthetic_caption).empty()) return check_synthetic_captions(s, here_, needs_, faults_);
    if (std::ranges::any_of(needs_, [&](const StageSpec* need) {
          return std::holds_alternative<CaptionSettings>(need->settings) && need->name == s.synthetic_caption;
        }))
      fault(here_ + "/synthetic_caption", "invalid",
            quoted(s.synthetic_caption) + " is a caption stage, and stands for a field of .json here",
            "write \"stage:" + s.synthetic_caption + "\"");
  }

  void check_captions(const EvaluateSettings& s) {
    if (s.captions.empty() && stage_was_read("captions"))
      fault(here_ + "/captions", "missing", "task captions scores captions",
            "name stage:<caption stage>, a file or a folder");
    check_made_by(spec_, s.captions, "caption", here_, here_ + "/captions", needs_, faults_);
    if (!s.model.empty()) fault(here_ + "/model", "invalid", "task captions needs no model", "leave it out");
  }

  void check_evaluated_model(const EvaluateSettings& s) {
    if (!s.captions.empty())
      fault(here_ + "/captions", "invalid",
            "task " + std::string(name_of(s.task)) + " reads no captions of others",
            "leave it out, or choose task captions");
    if (s.model.empty() && stage_was_read("model"))
      fault(here_ + "/model", "missing", "a train stage or a model is required",
            "name the one that is evaluated");
    else
      evaluated_model(s.model);
  }

  void check(const EvaluateSettings& s) {
    if (s.task != EvaluateTask::kWords)
      required_data(s.data, "data");
    else if (!s.data.empty())
      fault(here_ + "/data", "invalid", "words have no pictures", "leave the data set out");
    if (s.task == EvaluateTask::kCaptions)
      check_captions(s);
    else
      check_evaluated_model(s);
    const bool learns = s.task == EvaluateTask::kLinearProbe || s.task == EvaluateTask::kKnn ||
                        s.task == EvaluateTask::kFewShot || s.task == EvaluateTask::kEntailment;
    known_data(s.train_data, here_ + "/train_data");
    known_data(s.validation_data, here_ + "/validation_data");
    if (learns && s.train_data == s.data && !s.data.empty())
      fault(here_ + "/train_data", "invalid", "is the data set it is evaluated on",
            "select another part of it, for example with \"select\"");
    if (learns && s.train_data.empty())
      fault(here_ + "/train_data", "missing",
            "task " + std::string(name_of(s.task)) + " learns from labelled samples", "name a data set");
    if (!learns && !s.train_data.empty())
      fault(here_ + "/train_data", "invalid", "task " + std::string(name_of(s.task)) + " learns from nothing",
            "leave it out, or choose linear_probe, knn, few_shot or entailment");
    check_protocol(s, here_, faults_);
  }

  void check(const IndexSettings& s) {
    required_data(s.data, "data");
    evaluated_model(s.model);
  }

  const PipelineSpec& spec_;
  const StageSpec& stage_;
  const std::string here_;  // pointer of the stage
  const std::vector<const StageSpec*> needs_;
  std::set<std::string>& used_data_;
  std::vector<SpecFault>& faults_;
};

}  // namespace

void check_stage(const PipelineSpec& spec, std::size_t index, std::set<std::string>& used_data,
                 std::vector<SpecFault>& faults) {
  StageChecker(spec, index, used_data, faults).run();
}

}  // namespace trireme::jobs

#include "jobs/specification/checks/check_training.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "jobs/specification/checks/check_unread.h"
#include "jobs/specification/json/names.h"
#include "jobs/specification/stages/own_caption.h"

namespace trireme::jobs {
namespace {

class TrainingChecker {
 public:
  TrainingChecker(const PipelineSpec& spec, std::string at, std::vector<SpecFault>& faults)
      : spec_(spec), at_(std::move(at)), faults_(faults) {}

  void run(const TrainSettings& s) {
    const auto model = spec_.models.find(s.model);
    check(s.optimizer, at_ + "/optimizer");
    check(s.loss, at_ + "/loss");
    if (model != spec_.models.end()) check(s.loss.temperature, model->second, at_ + "/loss/temperature");
    check(s.concepts, at_ + "/concepts");
    if (model != spec_.models.end()) check_objective(s, model->second);
    const auto own = own_caption(s.synthetic_caption);
    if (own && *own == 0)
      fault(at_ + "/synthetic_caption", "invalid", quoted(s.synthetic_caption) + " is no caption of a sample",
            "own:1 is the first one");
    if (s.loss.texts != LossTexts::kRaw && !own && named_stage(s.synthetic_caption).empty())
      needs_json(s.data, "/loss/texts", "synthetic captions");
    check_metric(s);
    for (const ConceptHeadSpec& head : s.concepts.heads)
      if (head.from == "json") return needs_json(s.data, "/concepts/heads", "concepts");
  }

 private:
  void fault(const std::string& pointer, const std::string& code, const std::string& detail,
             const std::string& hint = "") {
    add_fault(faults_, {pointer, code, detail, hint});
  }

  // Captioning knows one text per picture and its next tokens; what belongs to pairs is refused.
  void check_objective(const TrainSettings& s, const ModelSpec& model) {
    const bool decoder = model.text.kind == TextTowerKind::kDecoder,
               captioning = s.objective == TrainObjective::kCaptioning;
    if (captioning != decoder)
      return fault(
          at_ + "/objective", "invalid",
          "model " + quoted(s.model) + " has text.kind " + std::string(name_of(model.text.kind)) +
              ", which " + (decoder ? "learns captioning" : "cannot write captions"),
          decoder ? "set objective to \"captioning\"" : "use a model whose text.kind is \"decoder\"");
    if (s.objective == TrainObjective::kClassification) return check_classification(s);
    if (captioning) refuse_pairs(s, s.loss.texts == LossTexts::kBoth, "captioning");
  }

  // What training on pairs has and training on captions or labels has not. `texts`: whether loss.texts is
  // set.
  void refuse_pairs(const TrainSettings& s, bool texts, const std::string& objective) {
    const LossSpec usual;
    const auto refuse = [&](bool set, const char* field) { refuse_setting(set, field, objective); };
    refuse(texts, "/loss/texts");
    refuse(s.loss.kind != usual.kind, "/loss/kind");
    refuse(s.loss.positives != usual.positives, "/loss/positives");
    refuse(s.loss.negative_fraction != 1, "/loss/negative_fraction");
    refuse(s.loss.hard_negatives.alpha != 1 || s.loss.hard_negatives.beta != 0, "/loss/hard_negatives");
    refuse(s.loss.any_gate(), "/loss/gates");
    refuse(s.loss.temperature.initial.has_value() ||
               s.loss.temperature.parameter != TemperatureParameter::kLogitScale,
           "/loss/temperature");
    refuse(!s.concepts.heads.empty(), "/concepts/heads");
    refuse(s.feature_dropout > 0, "/feature_dropout");
  }
  void refuse_setting(bool set, const char* field, const std::string& objective) {
    if (set) fault(at_ + field, "invalid", "has no meaning for " + objective, "leave it out");
  }

  // Labels have no pairs, and one head.
  void check_classification(const TrainSettings& s) {
    refuse_pairs(s, s.loss.texts != LossSpec{}.texts, "classification");
    refuse_setting(s.swap_captions.share > 0, "/swap_captions", "classification");
    const ClassificationSpec c = s.classification.value_or(ClassificationSpec{});
    if (c.head == HeadStart::kPrompts && !c.embedding)
      fault(at_ + "/classification/embedding", "invalid", "class vectors of prompts lie in the shared space",
            "set embedding to true, or head to random");
    if (c.multi_label && s.loss.label_smoothing > 0)
      fault(at_ + "/loss/label_smoothing", "invalid", "several labels have no softmax to smooth",
            "leave it 0");
    if (c.multi_label && c.mixup > 0)
      fault(at_ + "/classification/mixup", "invalid", "mixtures are of single labels", "leave it 0");
    const auto wanted = c.multi_label ? EvaluationMetric::kMeanAveragePrecision : EvaluationMetric::kAcc1;
    if (s.evaluate_every.steps > 0 && s.evaluate_every.metric != wanted)
      fault(at_ + "/evaluate_every/metric", "invalid",
            "the labels are not measured by " + std::string(name_of(s.evaluate_every.metric)),
            "set it to \"" + std::string(name_of(wanted)) + "\"");
  }

  void check_metric(const TrainSettings& s) {
    if (s.evaluate_every.steps == 0 || s.objective == TrainObjective::kClassification) return;
    if (s.evaluate_every.metric == EvaluationMetric::kMeanAveragePrecision)
      fault(at_ + "/evaluate_every/metric", "invalid",
            "mean_average_precision is of multi-label classification",
            "choose a recall, or acc1 where there are classes");
    const bool captioning = s.objective == TrainObjective::kCaptioning,
               token_loss = s.evaluate_every.metric == EvaluationMetric::kTokenLoss;
    if (captioning != token_loss)
      fault(
          at_ + "/evaluate_every/metric", "invalid",
          std::string(name_of(s.evaluate_every.metric)) + (captioning ? " is of pairs" : " is a captioner's"),
          captioning ? "set it to \"token_loss\"" : "choose a recall, or acc1 where there are classes");
  }

  // Captions and concepts stand in the .json members of tars; a table has none.
  void needs_json(const std::string& data, const char* field, const char* what) {
    const auto found = spec_.data.find(data);
    if (found == spec_.data.end()) return;
    for (const SourceSpec& source : found->second.sources)
      if (source.format == DataFormat::kTable || source.path.ends_with(".csv") ||
          source.path.ends_with(".tsv"))
        fault(at_ + field, "invalid",
              std::string(what) + " stand in the samples' .json, and data set " + quoted(data) +
                  " has a table without them");
  }

  void check(const LossSpec& l, const std::string& at) {
    const auto contradiction = [&](bool wrong, const char* field, const std::string& detail,
                                   const std::string& hint) {
      if (wrong) fault(at + "/" + field, "invalid", detail, hint);
    };
    const bool sigmoid = l.kind == LossKind::kSigmoid;
    const char* const no_denominator = "the sigmoid loss has no denominator to smooth or to re-weight";
    contradiction(sigmoid && l.label_smoothing > 0, "label_smoothing", no_denominator, "leave it 0");
    contradiction(sigmoid && l.hard_negatives.alpha != 1, "hard_negatives/alpha", no_denominator,
                  "leave it 1");
    contradiction(sigmoid && l.hard_negatives.beta > 0, "hard_negatives/beta", no_denominator, "leave it 0");
    const char* const both = "set loss.texts to \"both\"";
    for (const auto& [on, name] : {std::pair{l.gates.sample, "gates/sample"},
                                   {l.gates.text, "gates/text"},
                                   {l.gates.caption, "gates/caption"}})
      contradiction(on && l.texts != LossTexts::kBoth, name,
                    "gates compare raw texts with synthetic captions", both);
    if (l.any_gate())
      contradiction(l.gates.momentum >= 1, "gates/momentum", "at 1 the running means never move", "use 0.99");
  }

  void check(const TemperatureSpec& t, const ModelSpec& model, const std::string& at) {
    if (!t.initial && t.parameter != TemperatureParameter::kSigma) return;  // the model's own, checked there
    const double tau = t.initial.value_or(
        t.parameter == TemperatureParameter::kSigma ? 1 : std::exp(-model.logit_scale_init));
    const double slack = 1e-9, scale = -std::log(tau);
    if (scale > model.logit_scale_max + slack || scale < model.logit_scale_min - slack)
      fault(at + "/initial", "out_of_range",
            "temperature " + std::to_string(tau) + " lies outside the model's clamps [" +
                std::to_string(std::exp(-model.logit_scale_max)) + ", " +
                std::to_string(std::exp(-model.logit_scale_min)) + "]",
            "logit_scale_min and logit_scale_max are ln(1/temperature)");
  }

  void check(const ConceptsSpec& c, const std::string& at) {
    std::set<std::string> names;
    for (std::size_t i = 0; i < c.heads.size(); ++i) {
      const ConceptHeadSpec& head = c.heads[i];
      const std::string here = at + "/heads/" + std::to_string(i);
      if (!head.name.empty() && !good_name(head.name, false))
        fault(here + "/name", "invalid", quoted(head.name) + " is no name of a head",
              "use a-z, 0-9, '_' and '-', at most 64");
      if (!head.name.empty() && !names.insert(head.name).second)
        fault(here + "/name", "duplicate_name", "two heads are called " + quoted(head.name));
      if (head.top_k > static_cast<std::int64_t>(head.vocabulary.size()) && !head.vocabulary.empty())
        fault(here + "/top_k", "out_of_range",
              std::to_string(head.top_k) + " targets are beyond a vocabulary of " +
                  std::to_string(head.vocabulary.size()),
              "at most the size of the vocabulary, or 0 for all");
      check_source(head, here);
      check_vocabulary(head.vocabulary, here + "/vocabulary");
    }
    if (c.sampling == ConceptSampling::kSquareRoot && c.heads.empty())
      fault(at + "/sampling", "invalid", "without a head there are no concepts to sample by",
            "add heads, or sample uniformly");
  }

  void check_source(const ConceptHeadSpec& head, const std::string& at) {
    const bool stage = !named_stage(head.from).empty(), captions = head.from == "captions";
    if (!stage && !captions && head.from != "json")
      fault(at + "/from", "invalid", quoted(head.from) + " is not json, captions or stage:<name>");
    if (captions && head.field != "objects" && head.field != "attributes")
      fault(at + "/field", "invalid", "captions name objects and attributes", "choose one of the two");
    if (stage && (!head.vocabulary.empty() || !head.vocabulary_from.empty()))
      return fault(at + "/vocabulary", "invalid", "the vocabulary is that of the concepts stage",
                   "leave it out");
    if (!head.vocabulary.empty() && !head.vocabulary_from.empty())
      fault(at + "/vocabulary_from", "invalid", "there is a vocabulary already", "give one of the two");
    if (!stage && head.vocabulary_from.empty() && head.vocabulary.size() < 2)
      fault(at + "/vocabulary", head.vocabulary.empty() ? "missing" : "out_of_range",
            std::to_string(head.vocabulary.size()) + " concepts, where a head needs at least 2",
            "list them, or set vocabulary_from");
  }

  void check_vocabulary(const std::vector<std::string>& vocabulary, const std::string& at) {
    std::set<std::string> seen;
    for (std::size_t i = 0; i < vocabulary.size(); ++i) {
      if (vocabulary[i].empty()) fault(at + "/" + std::to_string(i), "invalid", "an empty concept");
      if (!seen.insert(vocabulary[i]).second)
        fault(at + "/" + std::to_string(i), "duplicate_name", quoted(vocabulary[i]) + " stands twice");
    }
  }

  void check(const OptimizerSpec& o, const std::string& at) {
    if (o.schedule == RateSchedule::kOneCycle && o.warmup_steps > 0)
      fault(at + "/warmup_steps", "invalid", "schedule one_cycle has its own rise",
            "set one_cycle.rise, and warmup_steps to 0");
    if (o.one_cycle.beta1_low > o.one_cycle.beta1_high)
      fault(at + "/one_cycle/beta1_high", "invalid", "is below beta1_low");
    if (o.schedule == RateSchedule::kStep || o.schedule == RateSchedule::kExponential)
      for (const auto& [there, name] : {std::pair{o.decay_steps.has_value(), "decay_steps"},
                                        {o.decay_factor.has_value(), "decay_factor"}})
        if (!there)
          fault(at + "/" + name, "missing", "schedule " + std::string(name_of(o.schedule)) + " needs it",
                "ALIGN's fine-tuning has the rate times 0.2 every 30 epochs");
    std::set<std::string> seen;
    for (std::size_t i = 0; i < o.groups.size(); ++i) {
      const std::string here = at + "/groups/" + std::to_string(i);
      if (!o.groups[i].layer_adaptation && o.kind != OptimizerKind::kLamb)
        add_fault(faults_, unread_fault(here + "/layer_adaptation", "only lamb adapts by layer"));
      if (!seen.insert(o.groups[i].names).second)
        fault(here + "/names", "duplicate_name",
              quoted(o.groups[i].names) + " stands twice; the first one holds");
    }
  }

  const PipelineSpec& spec_;
  std::string at_;
  std::vector<SpecFault>& faults_;
};

}  // namespace

void check_training(const PipelineSpec& spec, const TrainSettings& settings, const std::string& at,
                    std::vector<SpecFault>& faults) {
  TrainingChecker(spec, at, faults).run(settings);
}

void check_images(const PipelineSpec& spec, const TrainSettings& s, const std::string& here,
                  const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults) {
  const auto model = spec.models.find(s.model);
  if (model == spec.models.end()) return;
  const bool stored = model->second.image.frozen && model->second.text.kind != TextTowerKind::kDecoder &&
                      std::ranges::any_of(needs, [&](const StageSpec* need) {
                        const auto* embed = std::get_if<EmbedSettings>(&need->settings);
                        return embed != nullptr && embed->model == s.model &&
                               std::ranges::find(embed->data, s.data) != embed->data.end();
                      });
  const AugmentSpec a, &b = s.augment;
  const bool augments = a.scale_min != b.scale_min || a.scale_max != b.scale_max ||
                        a.aspect_min != b.aspect_min || a.aspect_max != b.aspect_max || a.flip != b.flip;
  const auto refuse = [&](bool set, const char* field, const std::string& why) {
    if (set) add_fault(faults, unread_fault(here + field, why));
  };
  const std::string named = "images of model " + quoted(s.model) + " are ";
  refuse(stored && augments, "/augment", named + "stored features, of which nothing is cropped");
  refuse(!stored && s.feature_dropout > 0, "/feature_dropout", named + "no stored features");
  refuse(!stored && !s.standardize_features, "/standardize_features", named + "no stored features");
}

void check_synthetic_captions(const TrainSettings& s, const std::string& here,
                              const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults) {
  const std::string name = named_stage(s.synthetic_caption);
  const std::string at = here + "/synthetic_caption";
  const auto need = std::ranges::find(needs, name, &StageSpec::name);
  const auto* captions = need == needs.end() ? nullptr : std::get_if<CaptionSettings>(&(*need)->settings);
  if (captions == nullptr)
    add_fault(faults, {at, "unknown_name", "no caption stage " + quoted(name) + " is among the needs",
                       "name it here and in \"needs\""});
  else if (std::ranges::find(captions->data, s.data) == captions->data.end())
    add_fault(faults,
              {at, "invalid", "stage " + quoted(name) + " writes no captions for data set " + quoted(s.data),
               "add it to the stage's \"data\""});
}

}  // namespace trireme::jobs

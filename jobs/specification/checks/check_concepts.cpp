#include "jobs/specification/checks/check_concepts.h"

#include <algorithm>

#include "common/base/nearest_name.h"
#include "jobs/specification/json/names.h"
#include "jobs/specification/prompt_template.h"

namespace trireme::jobs {
namespace {

class ConceptChecker {
 public:
  ConceptChecker(const PipelineSpec& spec, std::string at, const std::vector<const StageSpec*>& needs,
                 std::vector<SpecFault>& faults)
      : spec_(spec), at_(std::move(at)), needs_(needs), faults_(faults) {}

  void made_by(const std::string& value, const std::string& kind, const std::string& pointer) {
    const std::string name = named_stage(value);
    if (name.empty()) return;
    std::vector<std::string> made;
    for (const StageSpec& stage : spec_.stages)
      if (stage.kind() == kind) made.push_back(stage.name);
    const std::string near = nearest_name(name, made);
    if (std::ranges::find(made, name) == made.end())
      fault(pointer, "unknown_name", "there is no " + kind + " stage " + quoted(name),
            near.empty() ? "add one" : "did you mean \"" + near + "\"?");
    else if (std::ranges::find(needs_, name, &StageSpec::name) == needs_.end())
      fault(at_ + "/needs", "invalid", "stage " + quoted(name) + " is used and not among the needs",
            "add it to \"needs\"");
  }

  void run(const ConceptsSettings& s) {
    made_by(s.teacher, "train", at_ + "/teacher");
    made_by(s.vocabulary, "concept_vocabulary", at_ + "/vocabulary");
    if (is_classifier(s.teacher) && !named_stage(s.vocabulary).empty())
      fault(at_ + "/vocabulary", "invalid", "a classifier has classes of its own, not those of a corpus",
            "leave it out for imagenet, or name a file with its classes");
    if (s.vocabulary.empty()) needs_heads(named_stage(s.teacher));
    for (std::size_t i = 0; i < s.templates.size(); ++i)
      if (!has_class_place(s.templates[i]))
        fault(at_ + "/templates/" + std::to_string(i), "invalid", "the template does not hold {c}",
              "{c} or {} stands for the concept");
  }

  void run(const TrainSettings& s) {
    for (std::size_t i = 0; i < s.concepts.heads.size(); ++i) {
      const ConceptHeadSpec& head = s.concepts.heads[i];
      const std::string at = at_ + "/concepts/heads/" + std::to_string(i);
      made_by(head.from, "concepts", at + "/from");
      made_by(head.vocabulary_from, "concept_vocabulary", at + "/vocabulary_from");
      for (const StageSpec* need : needs_)
        if (const auto* labels = std::get_if<ConceptsSettings>(&need->settings);
            labels != nullptr && need->name == named_stage(head.from) &&
            std::ranges::find(labels->data, s.data) == labels->data.end())
          fault(at + "/from", "invalid",
                "stage " + quoted(need->name) + " labels other data than " + quoted(s.data),
                "add the data set to its \"data\"");
    }
  }

 private:
  void fault(const std::string& pointer, const std::string& code, const std::string& detail,
             const std::string& hint) {
    add_fault(faults_, {pointer, code, detail, hint});
  }

  void needs_heads(const std::string& trained) {
    for (const StageSpec& stage : spec_.stages)
      if (const auto* train = std::get_if<TrainSettings>(&stage.settings);
          train != nullptr && stage.name == trained && train->concepts.heads.empty())
        fault(at_ + "/vocabulary", "missing", "train stage " + quoted(trained) + " has no concept heads",
              "name a vocabulary, or give it heads");
  }

  const PipelineSpec& spec_;
  std::string at_;
  const std::vector<const StageSpec*>& needs_;
  std::vector<SpecFault>& faults_;
};

}  // namespace

void check_concepts(const PipelineSpec& spec, const ConceptsSettings& settings, const std::string& at,
                    const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults) {
  ConceptChecker(spec, at, needs, faults).run(settings);
}

void check_concepts(const PipelineSpec& spec, const TrainSettings& settings, const std::string& at,
                    const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults) {
  ConceptChecker(spec, at, needs, faults).run(settings);
}

void check_made_by(const PipelineSpec& spec, const std::string& value, const std::string& kind,
                   const std::string& at, const std::string& pointer,
                   const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults) {
  ConceptChecker(spec, at, needs, faults).made_by(value, kind, pointer);
}

}  // namespace trireme::jobs

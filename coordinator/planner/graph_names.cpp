// What the values of a job file name: parts of other stages, models that are adopted, files.
#include "coordinator/planner/graph_builder.h"
#include "jobs/specification/checks/check.h"

namespace trireme::coordinator::planner {

std::size_t GraphState::Builder::vocabulary_of(const std::string& name) const {
  if (name.empty()) return kNone;
  const std::string stage = jobs::vocabulary_stage(graph.job.spec.models.at(name).text.tokenizer);
  return stage.empty() ? kNone : parts_of.at(stage).back();
}

std::vector<std::size_t> GraphState::Builder::starts_of(const std::string& name) const {
  std::vector<std::size_t> parts;
  if (name.empty()) return parts;
  for (const auto& stage : jobs::starting_stages(graph.job.spec.models.at(name)))
    parts.push_back(parts_of.at(stage).back());
  return parts;
}

std::size_t GraphState::Builder::adopted(std::uint32_t stage, const std::string& name) {
  const auto [known, fresh] = adopted_of.try_emplace(name, kNone);
  if (!fresh) return known->second;
  const std::size_t made = new_part(stage, 0, TaskKind::kAdopt, kNone, model_head(name));
  known->second = made;
  Part& part = graph.parts[made];
  part.settings = "{}";
  part.model_name = name;
  part.model_json = jobs::model_json(graph.job.spec.models.at(name));
  part.starts = starts_of(name);
  part.vocabulary = vocabulary_of(name);
  if (part.vocabulary != kNone) part.artifacts = {part.vocabulary};
  part.grow(1);
  std::set<std::size_t> barriers(part.starts.begin(), part.starts.end());
  barriers.insert(part.artifacts.begin(), part.artifacts.end());
  wait_for(made, barriers);
  return made;
}

std::size_t GraphState::Builder::artifact_of(const std::string& value) const {
  const std::string stage = jobs::named_stage(value);
  return stage.empty() ? kNone : parts_of.at(stage).back();
}

std::string GraphState::Builder::file_head(const std::string& what) const {
  const auto found = graph.weights.find(what);
  return found == graph.weights.end() ? "" : "\n" + io::hex(found->second);
}

}  // namespace trireme::coordinator::planner

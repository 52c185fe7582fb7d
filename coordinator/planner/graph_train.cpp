// Stages of whole models. The gang of a train stage: what it reads of every data set, what it waits for, and
// what decides its address; and what evaluates or indexes with a model.
#include <algorithm>
#include <set>

#include "coordinator/planner/graph_builder.h"
#include "jobs/specification/model_defaults.h"
#include "jobs/specification/shared_pictures.h"

namespace trireme::coordinator::planner {
namespace {

using Builder = GraphState::Builder;

// What concept heads read: labels of the training data's ranges, and files of vocabularies.
struct HeadInputs {
  std::vector<std::size_t> providers, artifacts;
  std::string head;
};

HeadInputs head_inputs(const Builder& b, const jobs::TrainSettings& settings) {
  HeadInputs found;
  const auto add = [](std::vector<std::size_t>& list, std::size_t part) {
    if (part != kNone && std::ranges::find(list, part) == list.end()) list.push_back(part);
  };
  for (const auto& head : settings.concepts.heads) {
    add(found.artifacts, b.artifact_of(head.vocabulary_from));
    found.head += b.file_head("concepts " + head.vocabulary_from);
    const std::string stage = jobs::named_stage(head.from);
    if (stage.empty()) continue;
    add(found.providers, b.part_over(b.spec_of.at(stage), settings.data));
    for (const std::size_t part : b.parts_of.at(stage))
      if (b.graph.parts[part].kind == TaskKind::kConceptTeacher) add(found.artifacts, part);
  }
  return found;
}

// The probe that a classification head starts as.
std::size_t probe_of(const Builder& b, const jobs::TrainSettings& settings) {
  const std::string stage = settings.classification ? jobs::named_stage(settings.classification->probe) : "";
  if (!stage.empty())
    for (const std::size_t part : b.parts_of.at(stage))
      if (b.graph.parts[part].kind == TaskKind::kProbe) return part;
  return kNone;
}

// What a train stage reads of one data set, range by range.
std::vector<std::size_t> trained_on(const Builder& b, const StageSpec& spec,
                                    const jobs::TrainSettings& settings, const HeadInputs& concepts,
                                    const std::string& data) {
  auto providers = b.range_inputs(spec, data, settings.model);
  if (data != settings.data) return providers;
  if (const std::string captions = jobs::named_stage(settings.synthetic_caption);
      !captions.empty() && settings.loss.texts != jobs::LossTexts::kRaw)
    providers.push_back(b.part_over(b.spec_of.at(captions), data));
  providers.insert(providers.end(), concepts.providers.begin(), concepts.providers.end());
  return providers;
}

// What a linear probe learns, by all workers, from the same embeddings that it is then tested on.
std::size_t add_probe(Builder& b, std::uint32_t stage, const StageSpec& spec, const std::string& head,
                      const std::set<std::size_t>& maps, const std::vector<Part::Listed>& listed,
                      std::size_t folder) {
  const std::size_t made = b.add_fixed(stage, TaskKind::kProbe, 1, spec, head, maps);
  Part& part = b.graph.parts[made];
  part.listed = listed;
  part.artifacts = {folder};
  part.data_json = b.graph.parts[*maps.begin()].data_json;
  return made;
}

// An embed task without a model: the pictures as `model` sees them, for all models that see them alike.
std::size_t add_pictures(Builder& b, std::uint32_t stage, const StageSpec& spec, const std::string& data,
                         std::uint32_t index, const std::string& model) {
  jobs::EmbedSettings settings;
  settings.data = {data};
  jobs::ModelSpec seen = b.graph.job.spec.models.at(model);
  jobs::resolve_model_defaults(seen);
  Builder::MapPart map = map_of(TaskKind::kEmbed, settings);
  map.settings_part = "pictures 1 " + jobs::geometry_text(jobs::image_preprocess(seen.image));
  map.alone = true, map.waits = false;
  const std::size_t made = b.add_map(stage, spec, data, index, map, false);
  b.graph.parts[made].model_json = jobs::model_json(seen);
  return made;
}

}  // namespace

void add_train(GraphState::Builder& b, std::uint32_t stage, const StageSpec& spec,
               const jobs::TrainSettings& settings) {
  std::set<std::size_t> barriers;
  std::vector<Part::Listed> listed_parts;
  HeadInputs concepts = head_inputs(b, settings);
  if (const std::size_t probe = probe_of(b, settings); probe != kNone) concepts.artifacts.push_back(probe);
  const std::string held_back = jobs::evaluated_on(spec);
  std::vector<std::string> sets{settings.data};
  if (!held_back.empty() && held_back != settings.data) sets.push_back(held_back);
  std::string head = b.model_head(settings.model) + concepts.head;
  for (const auto& data : sets) {
    auto providers = trained_on(b, spec, settings, concepts, data);
    barriers.insert(b.graph.inspectors[b.table_of.at(data)]);
    barriers.insert(providers.begin(), providers.end());
    listed_parts.push_back({b.table_of.at(data), std::move(providers)});
    head += b.data_head(data);
  }
  for (const auto& need : spec.needs) barriers.insert(b.parts_of.at(need).begin(), b.parts_of.at(need).end());
  const std::size_t vocabulary = b.vocabulary_of(settings.model);
  if (vocabulary != kNone) barriers.insert(vocabulary);
  const auto starts = b.starts_of(settings.model);
  barriers.insert(starts.begin(), starts.end());
  barriers.insert(concepts.artifacts.begin(), concepts.artifacts.end());
  Part& part = b.graph.parts[b.add_fixed(stage, TaskKind::kTrain, 1, spec, head, barriers)];
  part.artifacts = concepts.artifacts;
  part.model_name = settings.model;
  part.vocabulary = vocabulary;
  part.starts = starts;
  if (vocabulary != kNone) part.artifacts.push_back(vocabulary);
  part.listed = std::move(listed_parts);
  part.data_json = jobs::data_json(b.graph.job.spec.data.at(settings.data));
  part.model_json = jobs::model_json(b.graph.job.spec.models.at(settings.model));
  if (!held_back.empty()) part.evaluate_data_json = jobs::data_json(b.graph.job.spec.data.at(held_back));
}

void add_whole_model(Builder& b, std::uint32_t stage, const StageSpec& spec, const std::string& model,
                     TaskKind merge_kind, std::string head, const jobs::EmbedSettings& embeddings) {
  const std::string trained = jobs::evaluated_stage(b.graph.job.spec, model);
  const std::size_t folder = trained.empty() ? b.adopted(stage, model) : b.artifact_of("stage:" + trained);
  jobs::EmbedSettings embed = embeddings;
  embed.model = trained.empty() ? model : trained_by(b, "stage:" + trained)->model;
  std::vector<Part::Listed> listed_parts;
  std::set<std::size_t> maps;
  std::size_t first_map = kNone;
  const std::vector<std::string> sets = jobs::data_of(spec);
  for (std::uint32_t i = 0; i < sets.size(); ++i) {
    embed.data = {sets[i]};
    Builder::MapPart map = map_of(TaskKind::kEmbed, embed, embed.model);
    map.artifacts = {folder};
    const bool shared = jobs::models_that_see_alike(b.graph.job.spec, model, sets[i]) > 1;
    const auto after = static_cast<std::uint32_t>(sets.size());
    if (shared) map.made_from = {add_pictures(b, stage, spec, sets[i], after + i, embed.model)};
    const std::size_t mapped = b.add_map(stage, spec, sets[i], i, map, true);
    if (shared) b.graph.parts[mapped].pictures = map.made_from.front();
    if (i == 0) first_map = mapped;
    std::vector<std::size_t> providers{mapped};
    const auto verdicts = b.range_inputs(spec, sets[i], "");
    providers.insert(providers.end(), verdicts.begin(), verdicts.end());
    maps.insert(mapped);
    if (merge_kind == TaskKind::kIndex) {
      Builder::MapPart segment = map_of(TaskKind::kSegment, spec.settings);
      segment.settings_part = "segment 1";  // every index over the range has the same
      segment.made_from = {mapped};
      segment.alone = true, segment.waits = false;
      providers.push_back(b.add_map(stage, spec, sets[i], i, segment, false));
      maps.insert(providers.back());
    }
    listed_parts.push_back({b.table_of.at(sets[i]), std::move(providers)});
    head += b.data_head(sets[i]);
  }
  if (maps.empty()) maps = {folder};  // words, which need no data set
  const auto* evaluate = std::get_if<jobs::EvaluateSettings>(&spec.settings);
  const bool probes = evaluate != nullptr && evaluate->task == jobs::EvaluateTask::kLinearProbe;
  const std::size_t probe = probes ? add_probe(b, stage, spec, head, maps, listed_parts, folder) : kNone;
  if (probes) maps.insert(probe);
  const std::size_t merge = b.add_fixed(stage, merge_kind, 1, spec, head, maps);
  Part& part = b.graph.parts[merge];
  const Part& mapped = b.graph.parts[first_map == kNone ? *maps.begin() : first_map];
  part.listed = std::move(listed_parts);
  part.artifacts = {folder};
  if (probes) part.artifacts.push_back(probe);
  part.model_name = mapped.model_name;
  part.vocabulary = mapped.vocabulary;
  part.data_json = mapped.data_json;
  part.model_json = mapped.model_json;
}

}  // namespace trireme::coordinator::planner

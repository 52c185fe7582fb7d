// One function per kind of stage: its parts, what they wait for, and what decides their addresses. A kind
// without one does not compile.
#include <algorithm>
#include <set>

#include "coordinator/planner/graph_builder.h"
#include "jobs/specification/checks/check.h"

namespace trireme::coordinator::planner {
using Builder = GraphState::Builder;
using MapPart = Builder::MapPart;

MapPart map_of(TaskKind kind, const jobs::StageSettings& settings, const std::string& model) {
  return {kind, jobs::settings_json(settings), address_part(settings), model, {}};
}

const jobs::TrainSettings* trained_by(const Builder& b, const std::string& value) {
  const std::string stage = jobs::named_stage(value);
  return stage.empty() ? nullptr : &std::get<jobs::TrainSettings>(b.spec_of.at(stage)->settings);
}

namespace {

// The same map over every data set.
void add_maps(Builder& b, std::uint32_t stage, const StageSpec& spec, const MapPart& map,
              bool features = false) {
  const std::vector<std::string> sets = jobs::data_of(spec);
  for (std::uint32_t i = 0; i < sets.size(); ++i) b.add_map(stage, spec, sets[i], i, map, features);
}

// Maps over every data set, then one merge task per partition: the part of the merges.
std::size_t add_tally(Builder& b, std::uint32_t stage, const StageSpec& spec, TaskKind map_kind,
                      TaskKind merge_kind, std::int64_t partitions, bool names_matter = false) {
  const MapPart map = map_of(map_kind, spec.settings);
  std::vector<Part::Listed> listed_parts;
  std::set<std::size_t> maps;
  std::string names;
  const std::vector<std::string> sets = jobs::data_of(spec);
  for (std::uint32_t i = 0; i < sets.size(); ++i) {
    const std::size_t made = b.add_map(stage, spec, sets[i], i, map, false);
    maps.insert(made);
    listed_parts.push_back({b.table_of.at(sets[i]), {made}});
    names += "\n" + sets[i];
  }
  const std::size_t merge = b.add_fixed(stage, merge_kind, partitions, spec, names_matter ? names : "", maps);
  b.graph.parts[merge].listed = std::move(listed_parts);
  return merge;
}

// One task that makes the artifact of what a tally has merged.
void add_last(Builder& b, std::uint32_t stage, const StageSpec& spec, TaskKind kind, std::size_t merge) {
  b.graph.parts[b.add_fixed(stage, kind, 1, spec, "", {merge})].artifacts = {merge};
}

void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::PairCountsSettings& settings) {
  add_tally(b, stage, spec, TaskKind::kPairCountsMap, TaskKind::kPairCountsMerge, settings.partitions);
}
void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::NgramCountsSettings& settings) {
  add_tally(b, stage, spec, TaskKind::kNgramsMap, TaskKind::kNgramsMerge, settings.partitions);
}
void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::DuplicatesSettings& settings) {
  add_tally(b, stage, spec, TaskKind::kDuplicatesMap, TaskKind::kDuplicatesMerge, settings.partitions,
            true);  // who is first among equals is told by name
}
void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::VocabularySettings& settings) {
  add_last(
      b, stage, spec, TaskKind::kVocabularyTrain,
      add_tally(b, stage, spec, TaskKind::kVocabularyMap, TaskKind::kVocabularyMerge, settings.partitions));
}
void add(Builder& b, std::uint32_t stage, const StageSpec& spec,
         const jobs::ConceptVocabularySettings& settings) {
  add_last(b, stage, spec, TaskKind::kConceptVocabulary,
           add_tally(b, stage, spec, TaskKind::kConceptWordsMap, TaskKind::kConceptWordsMerge,
                     settings.partitions));
}
void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::EmbedSettings& settings) {
  add_maps(b, stage, spec, map_of(TaskKind::kEmbed, spec.settings, settings.model));
}

// The captioner is a model of the job's, or what a train stage has made of one.
void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::CaptionSettings& settings) {
  MapPart map = map_of(TaskKind::kCaption, spec.settings, settings.model);
  if (const auto* train = trained_by(b, settings.model)) {
    map.model = train->model;
    map.artifacts = {b.artifact_of(settings.model)};
  }
  add_maps(b, stage, spec, map);
}

// Clusters that a filter reads: for `near_unique`, and for `against` all of images.
std::vector<std::size_t> clusters_for(const Builder& b, const StageSpec& spec,
                                      const jobs::FilterSettings& settings) {
  std::vector<std::string> compared = settings.data;
  compared.insert(compared.end(), settings.against.begin(), settings.against.end());
  std::map<std::string_view, jobs::NearBy> kinds;  // by name, which decides addresses
  const auto use = [&](jobs::NearBy by) { kinds.emplace(name_of(by), by); };
  for (const auto& unique : settings.near_unique)
    if (const auto by = jobs::near_duplicates_by(unique)) use(*by);
  if (!settings.against.empty()) use(jobs::NearBy::kHash), use(jobs::NearBy::kEmbedding);
  std::vector<std::size_t> found;
  for (const auto& [name, by] : kinds)
    for (const std::size_t part : b.tally_of<jobs::NearDuplicatesSettings>(
             spec, by == jobs::NearBy::kCaption ? settings.data : compared,
             [by = by](const jobs::NearDuplicatesSettings& near) { return near.by == by; }))
      found.push_back(part);
  return found;
}

std::vector<std::size_t> scores_for(const Builder& b, const jobs::FilterSettings& settings,
                                    const std::string& data) {
  std::vector<std::size_t> found;
  for (const auto& rule : settings.columns)
    if (const std::string from = jobs::named_stage(rule.sidecar); !from.empty())
      if (const std::size_t part = b.part_over(b.spec_of.at(from), data);
          std::ranges::find(found, part) == found.end())
        found.push_back(part);
  return found;
}

// The tallies that a filter's rules count on; `ngrams` are also those that the cut of max_ngrams needs.
std::vector<std::size_t> tallies_for(const Builder& b, const StageSpec& spec,
                                     const jobs::FilterSettings& settings,
                                     const jobs::MeasureSettings& measures,
                                     std::vector<std::size_t>& ngrams) {
  std::vector<std::size_t> artifacts;
  const auto add = [&](const std::vector<std::size_t>& more) {
    artifacts.insert(artifacts.end(), more.begin(), more.end());
  };
  if (measures.pairs) add(b.tally_of<jobs::PairCountsSettings>(spec, settings.data));
  if (measures.ngrams) add(ngrams = b.tally_of<jobs::NgramCountsSettings>(spec, settings.data));
  if (!measures.unique.empty()) add(b.tally_of<jobs::DuplicatesSettings>(spec, settings.data));
  add(clusters_for(b, spec, settings));
  return artifacts;
}

// Measures first, where a share of a column is kept the cuts, then verdicts.
void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::FilterSettings& settings) {
  jobs::MeasureSettings measures = jobs::measures_of(settings);
  std::vector<std::size_t> ngrams;
  MapPart measure{TaskKind::kMeasure, "", "", "", tallies_for(b, spec, settings, measures, ngrams)};
  measure.alone = true;
  measure.place_matters = !measures.unique.empty() || !measures.near.empty() || !measures.against.empty();
  MapPart judge = map_of(TaskKind::kFilter, spec.settings);
  if (settings.max_ngrams) judge.artifacts = ngrams;
  judge.settings_part +=
      b.file_head("list " + settings.keep_list) + b.file_head("list " + settings.drop_list);
  judge.also = settings.random_like;
  std::vector<std::size_t> facts;
  std::vector<Part::Listed> listed_parts;
  for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
    const std::string& data = settings.data[i];
    measures.decode = measures.spot || !filtered_before(b.graph.job.spec.stages, spec, data);
    measure.settings = jobs::measure_json(measures);
    jobs::MeasureSettings addressed = measures;
    addressed.score_folders.clear();
    measure.settings_part = jobs::measure_json(addressed) + b.file_head("scores " + spec.name + "/" + data);
    measure.made_from = scores_for(b, settings, data);
    facts.push_back(b.add_map(stage, spec, data, i, measure, false));
    listed_parts.push_back({b.table_of.at(data), {facts.back()}});
  }
  if (std::ranges::any_of(settings.columns, [](const auto& rule) { return rule.top_fraction.has_value(); })) {
    const std::size_t cuts =
        b.add_fixed(stage, TaskKind::kCuts, 1, spec, "", std::set<std::size_t>(facts.begin(), facts.end()));
    b.graph.parts[cuts].listed = std::move(listed_parts);
    judge.artifacts.push_back(cuts);
  }
  for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
    judge.made_from = {facts[i]};
    b.add_map(stage, spec, settings.data[i], i, judge, false);
  }
}

// Both towers of a model in spec.models or of "stage:<train stage>", as an embed task. An embedding is that
// of an embed stage among the needs, if there is one: the same task, done once.
MapPart embeddings_of(const Builder& b, const StageSpec& spec, const std::string& data,
                      const std::string& model) {
  const auto* train = trained_by(b, model);
  jobs::EmbedSettings embed;
  embed.data = {data};
  embed.model = train == nullptr ? model : train->model;
  const StageSpec* stored = b.nearest(spec, [&](const StageSpec& s) {
    const auto* other = std::get_if<jobs::EmbedSettings>(&s.settings);
    return other != nullptr && other->model == embed.model && lists(other->data, data);
  });
  if (train == nullptr && stored != nullptr) embed = std::get<jobs::EmbedSettings>(stored->settings);
  MapPart map = map_of(TaskKind::kEmbed, embed, embed.model);
  if (train != nullptr) map.artifacts = {b.artifact_of(model)};
  return map;
}

MapPart signatures_of(const Builder& b, const StageSpec& spec, const jobs::NearDuplicatesSettings& settings,
                      const std::string& data) {
  if (settings.by == jobs::NearBy::kEmbedding) return embeddings_of(b, spec, data, settings.model);
  MapPart map = map_of(TaskKind::kSignatures, spec.settings);
  map.settings_part =
      settings.by == jobs::NearBy::kCaption ? "caption" + std::to_string(settings.shingle_words) : "";
  return map;
}

// Signatures or embeddings, lists of embeddings unless every pair is looked at, pairs, clusters. No threshold
// decides the first.
void add(Builder& b, std::uint32_t stage, const StageSpec& spec,
         const jobs::NearDuplicatesSettings& settings) {
  const bool shared = !jobs::named_stage(settings.model).empty();
  std::vector<Part::Listed> listed_parts;
  std::set<std::size_t> maps;
  std::string names;
  for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
    const std::string& data = settings.data[i];
    const std::size_t made = b.add_map(stage, spec, data, i, signatures_of(b, spec, settings, data), shared);
    maps.insert(made);
    listed_parts.push_back({b.table_of.at(data), {made}});
    names += "\n" + data;
  }
  std::vector<std::size_t> found_by;
  if (settings.by == jobs::NearBy::kEmbedding && settings.search != jobs::SearchKind::kExact) {
    found_by = {b.add_fixed(stage, TaskKind::kNearLists, 1, spec, names, maps)};
    b.graph.parts[found_by[0]].listed = listed_parts;
    maps = {found_by[0]};
  }
  const std::size_t pairs = b.add_fixed(stage, TaskKind::kNearPairs, settings.partitions, spec, names, maps);
  b.graph.parts[pairs].listed = listed_parts;
  b.graph.parts[pairs].artifacts = found_by;
  const std::size_t clusters = b.add_fixed(stage, TaskKind::kNearClusters, 1, spec, names, {pairs});
  b.graph.parts[clusters].listed = std::move(listed_parts);
  b.graph.parts[clusters].artifacts = found_by;
  b.graph.parts[clusters].artifacts.push_back(pairs);
}

// Embeddings, then their scores. What a train stage made is embedded in the shared space; a model of
// spec.models is projected while scoring.
void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::PairScoresSettings& settings) {
  const bool shared = !jobs::named_stage(settings.model).empty();
  MapPart score = map_of(TaskKind::kPairScores, spec.settings, shared ? "" : settings.model);
  score.alone = true;
  score.waits = false;
  for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
    const std::string& data = settings.data[i];
    score.made_from = {b.add_map(stage, spec, data, i, embeddings_of(b, spec, data, settings.model), shared)};
    b.add_map(stage, spec, data, i, score, false);
  }
}

// One task settles on teacher and vocabularies, then every range is labelled.
void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::ConceptsSettings& settings) {
  const std::size_t model = b.artifact_of(settings.teacher);
  std::vector<std::size_t> made_of;
  for (const std::size_t part : {model, b.artifact_of(settings.vocabulary)})
    if (part != kNone) made_of.push_back(part);
  const std::string files =
      b.file_head("teacher " + settings.teacher) + b.file_head("concepts " + settings.vocabulary);
  const std::size_t teacher =
      b.add_fixed(stage, TaskKind::kConceptTeacher, 1, spec, files, {made_of.begin(), made_of.end()});
  b.graph.parts[teacher].artifacts = made_of;
  MapPart map = map_of(TaskKind::kConcepts, spec.settings);
  map.settings_part += files;
  map.artifacts = {teacher};
  if (const auto* train = trained_by(b, settings.teacher)) {
    map.artifacts.push_back(model);
    map.model = train->model;
  }
  add_maps(b, stage, spec, map, model != kNone);
}

void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::TrainSettings& settings) {
  add_train(b, stage, spec, settings);
}

// What an exported sample's .json gains: the facts of filters that judge by scores of other programs, and the
// scores of pair_scores stages.
std::vector<std::size_t> measured_for(const Builder& b, const StageSpec& spec, const std::string& data) {
  std::vector<std::size_t> found;
  for (const StageSpec* need : jobs::all_needs(b.graph.job.spec.stages, spec)) {
    if (!lists(jobs::data_of(*need), data)) continue;
    const auto* filter = std::get_if<jobs::FilterSettings>(&need->settings);
    if (std::holds_alternative<jobs::PairScoresSettings>(need->settings))
      found.push_back(b.part_over(need, data));
    else if (filter != nullptr && std::ranges::any_of(filter->columns, [](const auto& rule) {
               return !rule.sidecar.empty() && jobs::named_stage(rule.sidecar).empty();
             }))
      for (const std::size_t part : b.parts_of.at(need->name))
        if (const Part& made = b.graph.parts[part];
            made.kind == TaskKind::kMeasure && b.graph.tables[made.table].name() == data)
          found.push_back(part);
  }
  return found;
}

void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::ExportSettings& settings) {
  for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
    const std::string& data = settings.data[i];
    const std::size_t table = b.table_of.at(data);
    const std::size_t made = b.new_part(stage, i, TaskKind::kExport, table, address_part(spec.settings));
    Part& part = b.graph.parts[made];
    part.settings = jobs::settings_json(spec.settings);
    part.data_json = jobs::data_json(b.graph.job.spec.data.at(data));
    part.providers = b.range_inputs(spec, data, "");
    for (const std::size_t measured : measured_for(b, spec, data)) part.providers.push_back(measured);
    part.grow(b.graph.tables[table].size());
    for (const std::size_t provider : part.providers) b.graph.parts[provider].consumers.push_back(made);
    std::set<std::size_t> barriers{b.graph.inspectors[table]};
    for (const auto& need : spec.needs)
      if (!std::holds_alternative<jobs::FilterSettings>(b.spec_of.at(need)->settings))
        barriers.insert(b.parts_of.at(need).begin(), b.parts_of.at(need).end());
    b.wait_for(made, barriers);
  }
}

// Captions of others against those of the data set: no model, nothing range by range but the captions.
void add_caption_scores(Builder& b, std::uint32_t stage, const StageSpec& spec,
                        const jobs::EvaluateSettings& settings) {
  auto providers = b.range_inputs(spec, settings.data, "");
  if (const std::string from = jobs::named_stage(settings.captions); !from.empty())
    providers.push_back(b.part_over(b.spec_of.at(from), settings.data));
  std::set<std::size_t> barriers(providers.begin(), providers.end());
  barriers.insert(b.graph.inspectors[b.table_of.at(settings.data)]);
  for (const auto& need : spec.needs) barriers.insert(b.parts_of.at(need).begin(), b.parts_of.at(need).end());
  const std::size_t made =
      b.add_fixed(stage, TaskKind::kEvaluate, 1, spec,
                  b.data_head(settings.data) + b.file_head("captions " + settings.captions), barriers);
  b.graph.parts[made].listed = {{b.table_of.at(settings.data), std::move(providers)}};
  b.graph.parts[made].data_json = jobs::data_json(b.graph.job.spec.data.at(settings.data));
}

void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::EvaluateSettings& settings) {
  if (settings.task == jobs::EvaluateTask::kCaptions) return add_caption_scores(b, stage, spec, settings);
  jobs::EmbedSettings embed;
  embed.caption_prompt = settings.text_prompt;
  embed.tower_output = settings.features == jobs::FeatureSpace::kTower;
  std::string head = b.file_head("prompts " + settings.prompts);
  for (const auto& file : settings.ratings) head += b.file_head("ratings " + file);
  head += b.file_head("answers " + settings.answers);
  add_whole_model(b, stage, spec, settings.model, TaskKind::kEvaluate, head, embed);
}

void add(Builder& b, std::uint32_t stage, const StageSpec& spec, const jobs::IndexSettings& settings) {
  add_whole_model(b, stage, spec, settings.model, TaskKind::kIndex, "\nindex of segments 2");
}

}  // namespace

void GraphState::Builder::add_stage(const StageSpec& spec) {
  std::vector<std::string> needs = spec.needs;
  std::vector<std::string> sets = jobs::data_of(spec);
  if (const auto name = jobs::evaluated_on(spec); !name.empty() && !lists(sets, name)) sets.push_back(name);
  for (const auto& name : sets) needs.push_back("inspect:" + name);
  const std::uint32_t stage = new_stage(spec.name, jobs::row_of(spec.settings), needs, &spec);
  parts_of[spec.name];
  std::visit([&](const auto& settings) { add(*this, stage, spec, settings); }, spec.settings);
}

}  // namespace trireme::coordinator::planner

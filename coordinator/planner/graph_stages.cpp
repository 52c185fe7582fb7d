// One function per kind of stage: its parts, what they wait for, and what decides their addresses.
#include <algorithm>
#include <set>

#include "coordinator/planner/graph_builder.h"

namespace trireme::coordinator::planner {

void GraphState::Builder::add_stage(const StageSpec& spec) {
  std::vector<std::string> needs = spec.needs;
  std::vector<std::string> sets = data_of(spec);
  if (const auto name = evaluated_on(spec); !name.empty() && !lists(sets, name)) sets.push_back(name);
  for (const auto& name : sets) needs.push_back("inspect:" + name);
  const std::uint32_t stage = new_stage(spec.name, spec.kind, needs, &spec);
  parts_of[spec.name];
  if (spec.kind == "filter") add_filter(stage, spec);
  if (spec.kind == "pair_counts")
    add_tally<jobs::PairCountsSettings>(stage, spec, TaskKind::kPairCountsMap, TaskKind::kPairCountsMerge);
  if (spec.kind == "ngram_counts")
    add_tally<jobs::NgramCountsSettings>(stage, spec, TaskKind::kNgramsMap, TaskKind::kNgramsMerge);
  if (spec.kind == "duplicates")
    add_tally<jobs::DuplicatesSettings>(stage, spec, TaskKind::kDuplicatesMap, TaskKind::kDuplicatesMerge);
  if (spec.kind == "near_duplicates") add_near_duplicates(stage, spec);
  if (spec.kind == "pair_scores") add_pair_scores(stage, spec);
  if (spec.kind == "export") add_export(stage, spec);
  if (spec.kind == "vocabulary") add_vocabulary(stage, spec);
  if (spec.kind == "concept_vocabulary") add_concept_vocabulary(stage, spec);
  if (spec.kind == "concepts") add_concepts(stage, spec);
  if (spec.kind == "embed") add_embed(stage, spec);
  if (spec.kind == "caption") add_caption(stage, spec);
  if (spec.kind == "train") add_train(stage, spec, sets);
  if (const auto* evaluate = std::get_if<jobs::EvaluateSettings>(&spec.settings); evaluate != nullptr) {
    if (evaluate->task == "captions")
      add_caption_scores(stage, spec, *evaluate);
    else
      add_trained(stage, spec, sets, evaluate->model, TaskKind::kEvaluate);
  }
  if (const auto* index = std::get_if<jobs::IndexSettings>(&spec.settings); index != nullptr)
    add_trained(stage, spec, sets, index->model, TaskKind::kIndex);
}

std::size_t GraphState::Builder::vocabulary_of(const std::string& name) const {
  if (name.empty()) return kNone;
  const std::string stage = jobs::vocabulary_stage(graph.job.spec.models.at(name).text.tokenizer);
  return stage.empty() ? kNone : parts_of.at(stage).back();
}

std::string GraphState::Builder::file_head(const std::string& what) const {
  const auto found = graph.weights.find(what);
  return found == graph.weights.end() ? "" : "\n" + io::hex(found->second);
}

void GraphState::Builder::add_filter(std::uint32_t stage, const StageSpec& spec) {
  const auto& settings = std::get<jobs::FilterSettings>(spec.settings);
  jobs::MeasureSettings measures = jobs::measures_of(settings);
  std::vector<std::size_t> artifacts, ngrams;
  const auto add = [&](const std::vector<std::size_t>& more) {
    artifacts.insert(artifacts.end(), more.begin(), more.end());
  };
  if (measures.pairs) add(tally_of<jobs::PairCountsSettings>(spec, settings.data));
  if (measures.ngrams) add(ngrams = tally_of<jobs::NgramCountsSettings>(spec, settings.data));
  if (!measures.unique.empty()) add(tally_of<jobs::DuplicatesSettings>(spec, settings.data));
  add(clusters_for(spec, settings));
  MapPart measure{TaskKind::kMeasure, "", "", "", artifacts};
  measure.phase = 1;
  measure.place_matters = !measures.unique.empty() || !measures.near.empty() || !measures.against.empty();
  MapPart judge{TaskKind::kFilter, jobs::settings_json(spec.settings), address_part(spec.settings), "",
                settings.max_ngrams ? ngrams : std::vector<std::size_t>{}};
  judge.settings_part += file_head("list " + settings.keep_list) + file_head("list " + settings.drop_list);
  judge.also = settings.random_like;
  std::vector<std::size_t> facts;
  std::vector<Part::Listed> listed_parts;
  for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
    measures.decode = measures.spot || !filtered_before(graph.job.spec.stages, spec, settings.data[i]);
    measure.settings = jobs::measure_json(measures);
    jobs::MeasureSettings addressed = measures;
    addressed.score_folders.clear();
    measure.settings_part =
        jobs::measure_json(addressed) + file_head("scores " + spec.name + "/" + settings.data[i]);
    measure.made_from = scores_for(settings, settings.data[i]);
    facts.push_back(add_map(stage, spec, settings.data[i], i, measure, false));
    listed_parts.push_back({table_of.at(settings.data[i]), {facts.back()}});
  }
  if (std::ranges::any_of(settings.columns, [](const auto& rule) { return rule.top_fraction.has_value(); })) {
    const std::size_t cuts =
        add_fixed(stage, 2, TaskKind::kCuts, 1, spec, "", std::set<std::size_t>(facts.begin(), facts.end()));
    graph.parts[cuts].listed = std::move(listed_parts);
    judge.artifacts.push_back(cuts);
  }
  for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
    judge.made_from = {facts[i]};
    add_map(stage, spec, settings.data[i], i, judge, false);
  }
}

void GraphState::Builder::add_embed(std::uint32_t stage, const StageSpec& spec) {
  const auto& settings = std::get<jobs::EmbedSettings>(spec.settings);
  const MapPart map{
      TaskKind::kEmbed, jobs::settings_json(spec.settings), address_part(spec.settings), settings.model, {}};
  for (std::uint32_t i = 0; i < settings.data.size(); ++i)
    add_map(stage, spec, settings.data[i], i, map, false);
}

void GraphState::Builder::add_caption(std::uint32_t stage, const StageSpec& spec) {
  const auto& settings = std::get<jobs::CaptionSettings>(spec.settings);
  const std::string trained = jobs::named_stage(settings.model);
  MapPart map{TaskKind::kCaption,
              jobs::settings_json(spec.settings),
              address_part(spec.settings),
              settings.model,
              {}};
  if (!trained.empty()) {
    map.model = std::get<jobs::TrainSettings>(spec_of.at(trained)->settings).model;
    map.artifacts = {result_of.at(trained)};
  }
  for (std::uint32_t i = 0; i < settings.data.size(); ++i)
    add_map(stage, spec, settings.data[i], i, map, false);
}

std::vector<std::size_t> GraphState::Builder::clusters_for(const StageSpec& spec,
                                                           const jobs::FilterSettings& settings) const {
  std::vector<std::string> compared = settings.data;
  compared.insert(compared.end(), settings.against.begin(), settings.against.end());
  std::set<std::string> kinds;
  for (const auto& unique : settings.near_unique) kinds.insert(jobs::near_duplicates_by(unique));
  if (!settings.against.empty()) kinds.insert({"hash", "embedding"});
  std::vector<std::size_t> found;
  for (const auto& by : kinds)
    for (const std::size_t part : tally_of<jobs::NearDuplicatesSettings>(
             spec, by == "caption" ? settings.data : compared, 2,
             [&](const jobs::NearDuplicatesSettings& near) { return near.by == by; }))
      found.push_back(part);
  return found;
}

GraphState::Builder::MapPart GraphState::Builder::signatures_of(const StageSpec& spec,
                                                                const std::string& data) const {
  const auto& settings = std::get<jobs::NearDuplicatesSettings>(spec.settings);
  if (settings.by != "embedding") {
    const bool caption = settings.by == "caption";
    return {TaskKind::kSignatures,
            jobs::settings_json(spec.settings),
            caption ? "caption" + std::to_string(settings.shingle_words) : "",
            "",
            {}};
  }
  return embeddings_of(spec, data, settings.model);
}

// An embedding is that of an embed stage among the needs, if there is one: the same task, done once.
GraphState::Builder::MapPart GraphState::Builder::embeddings_of(const StageSpec& spec,
                                                                const std::string& data,
                                                                const std::string& model) const {
  const std::string trained = jobs::named_stage(model);
  jobs::EmbedSettings embed;
  embed.data = {data};
  embed.model = trained.empty() ? model : std::get<jobs::TrainSettings>(spec_of.at(trained)->settings).model;
  const StageSpec* stored = nearest(spec, [&](const StageSpec& s) {
    const auto* other = std::get_if<jobs::EmbedSettings>(&s.settings);
    return other != nullptr && other->model == embed.model && lists(other->data, data);
  });
  if (trained.empty() && stored != nullptr) embed = std::get<jobs::EmbedSettings>(stored->settings);
  MapPart map{TaskKind::kEmbed,
              jobs::settings_json(embed),
              address_part(jobs::StageSettings(embed)),
              embed.model,
              {}};
  if (!trained.empty()) map.artifacts = {result_of.at(trained)};
  return map;
}

void GraphState::Builder::add_near_duplicates(std::uint32_t stage, const StageSpec& spec) {
  const auto& settings = std::get<jobs::NearDuplicatesSettings>(spec.settings);
  const bool shared = !jobs::named_stage(settings.model).empty();
  std::vector<Part::Listed> listed_parts;
  std::set<std::size_t> maps;
  std::string names;
  for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
    const std::size_t made =
        add_map(stage, spec, settings.data[i], i, signatures_of(spec, settings.data[i]), shared);
    maps.insert(made);
    listed_parts.push_back({table_of.at(settings.data[i]), {made}});
    names += "\n" + settings.data[i];
  }
  const std::size_t pairs = add_fixed(stage, 1, TaskKind::kNearPairs, settings.partitions, spec, names, maps);
  graph.parts[pairs].listed = listed_parts;
  const std::size_t clusters = add_fixed(stage, 2, TaskKind::kNearClusters, 1, spec, names, {pairs});
  graph.parts[clusters].listed = std::move(listed_parts);
  graph.parts[clusters].artifacts = {pairs};
}

// What a train stage made is embedded in the shared space; a model of spec.models is projected while scoring.
void GraphState::Builder::add_pair_scores(std::uint32_t stage, const StageSpec& spec) {
  const auto& settings = std::get<jobs::PairScoresSettings>(spec.settings);
  const bool shared = !jobs::named_stage(settings.model).empty();
  for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
    const std::string& data = settings.data[i];
    MapPart embed = embeddings_of(spec, data, settings.model);
    embed.phase = 1;
    MapPart score{TaskKind::kPairScores,
                  jobs::settings_json(spec.settings),
                  address_part(spec.settings),
                  shared ? "" : settings.model,
                  {}};
    score.made_from = {add_map(stage, spec, data, i, embed, shared)};
    add_map(stage, spec, data, i, score, false);
  }
}

std::vector<std::size_t> GraphState::Builder::scores_for(const jobs::FilterSettings& settings,
                                                         const std::string& data) const {
  std::vector<std::size_t> found;
  for (const auto& rule : settings.columns)
    if (const std::string from = jobs::named_stage(rule.sidecar); !from.empty())
      if (const std::size_t part = part_over(spec_of.at(from), data);
          std::ranges::find(found, part) == found.end())
        found.push_back(part);
  return found;
}

void GraphState::Builder::add_vocabulary(std::uint32_t stage, const StageSpec& spec) {
  const std::size_t merge =
      add_tally<jobs::VocabularySettings>(stage, spec, TaskKind::kVocabularyMap, TaskKind::kVocabularyMerge);
  const std::size_t last = add_fixed(stage, 2, TaskKind::kVocabularyTrain, 1, spec, "", {merge});
  graph.parts[last].artifacts = {merge};
}

void GraphState::Builder::add_concept_vocabulary(std::uint32_t stage, const StageSpec& spec) {
  const std::size_t merge = add_tally<jobs::ConceptVocabularySettings>(
      stage, spec, TaskKind::kConceptWordsMap, TaskKind::kConceptWordsMerge);
  const std::size_t last = add_fixed(stage, 2, TaskKind::kConceptVocabulary, 1, spec, "", {merge});
  graph.parts[last].artifacts = {merge};
}

std::size_t GraphState::Builder::artifact_of(const std::string& value) const {
  const std::string stage = jobs::named_stage(value);
  return stage.empty() ? kNone : parts_of.at(stage).back();
}

void GraphState::Builder::add_concepts(std::uint32_t stage, const StageSpec& spec) {
  const auto& settings = std::get<jobs::ConceptsSettings>(spec.settings);
  const std::string trained = jobs::named_stage(settings.teacher);
  const std::size_t model = trained.empty() ? kNone : result_of.at(trained);
  std::vector<std::size_t> made_of;
  for (const std::size_t part : {model, artifact_of(settings.vocabulary)})
    if (part != kNone) made_of.push_back(part);
  const std::string files =
      file_head("teacher " + settings.teacher) + file_head("concepts " + settings.vocabulary);
  const std::size_t teacher =
      add_fixed(stage, 1, TaskKind::kConceptTeacher, 1, spec, files, {made_of.begin(), made_of.end()});
  graph.parts[teacher].artifacts = made_of;
  MapPart map{TaskKind::kConcepts,
              jobs::settings_json(spec.settings),
              address_part(spec.settings) + files,
              "",
              {teacher}};
  if (model != kNone) {
    map.artifacts.push_back(model);
    map.model = std::get<jobs::TrainSettings>(spec_of.at(trained)->settings).model;
  }
  for (std::uint32_t i = 0; i < settings.data.size(); ++i)
    add_map(stage, spec, settings.data[i], i, map, model != kNone);
}

GraphState::Builder::HeadInputs GraphState::Builder::head_inputs(const jobs::TrainSettings& settings) const {
  HeadInputs found;
  const auto add = [](std::vector<std::size_t>& list, std::size_t part) {
    if (part != kNone && std::ranges::find(list, part) == list.end()) list.push_back(part);
  };
  for (const auto& head : settings.concepts.heads) {
    add(found.artifacts, artifact_of(head.vocabulary_from));
    found.head += file_head("concepts " + head.vocabulary_from);
    const std::string stage = jobs::named_stage(head.from);
    if (stage.empty()) continue;
    add(found.providers, part_over(spec_of.at(stage), settings.data));
    for (const std::size_t part : parts_of.at(stage))
      if (graph.parts[part].kind == TaskKind::kConceptTeacher) add(found.artifacts, part);
  }
  return found;
}

void GraphState::Builder::add_caption_scores(std::uint32_t stage, const StageSpec& spec,
                                             const jobs::EvaluateSettings& settings) {
  auto providers = range_inputs(spec, settings.data, "");
  if (const std::string from = jobs::named_stage(settings.captions); !from.empty())
    providers.push_back(part_over(spec_of.at(from), settings.data));
  std::set<std::size_t> barriers(providers.begin(), providers.end());
  barriers.insert(graph.inspectors[table_of.at(settings.data)]);
  for (const auto& need : spec.needs) barriers.insert(parts_of.at(need).begin(), parts_of.at(need).end());
  const std::size_t made =
      add_fixed(stage, 1, TaskKind::kEvaluate, 1, spec,
                data_head(settings.data) + file_head("captions " + settings.captions), std::move(barriers));
  graph.parts[made].listed = {{table_of.at(settings.data), std::move(providers)}};
  graph.parts[made].data_json = jobs::data_json(graph.job.spec.data.at(settings.data));
}

void GraphState::Builder::add_export(std::uint32_t stage, const StageSpec& spec) {
  const auto& settings = std::get<jobs::ExportSettings>(spec.settings);
  for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
    const std::string& data = settings.data[i];
    const std::size_t table = table_of.at(data);
    const std::size_t made = new_part(stage, 0, i, TaskKind::kExport, Part::Items::kWholeShards, table,
                                      address_part(spec.settings));
    Part& part = graph.parts[made];
    part.settings = jobs::settings_json(spec.settings);
    part.data_json = jobs::data_json(graph.job.spec.data.at(data));
    part.providers = range_inputs(spec, data, "");
    part.grow(graph.tables[table].size());
    for (const std::size_t provider : part.providers) graph.parts[provider].consumers.push_back(made);
    std::set<std::size_t> barriers{graph.inspectors[table]};
    for (const auto& need : spec.needs)
      if (spec_of.at(need)->kind != "filter")
        barriers.insert(parts_of.at(need).begin(), parts_of.at(need).end());
    wait_for(made, barriers);
  }
}

void GraphState::Builder::add_train(std::uint32_t stage, const StageSpec& spec,
                                    const std::vector<std::string>& sets) {
  const auto& settings = std::get<jobs::TrainSettings>(spec.settings);
  std::set<std::size_t> barriers;
  std::vector<Part::Listed> listed_parts;
  const HeadInputs concepts = head_inputs(settings);
  std::string head = model_head(settings.model) + concepts.head;
  for (const auto& data : sets) {
    auto providers = range_inputs(spec, data, settings.model);
    if (const std::string captions = jobs::named_stage(settings.synthetic_caption);
        !captions.empty() && settings.loss.texts != "raw" && data == settings.data)
      providers.push_back(part_over(spec_of.at(captions), data));
    if (data == settings.data)
      providers.insert(providers.end(), concepts.providers.begin(), concepts.providers.end());
    barriers.insert(graph.inspectors[table_of.at(data)]);
    barriers.insert(providers.begin(), providers.end());
    listed_parts.push_back({table_of.at(data), providers});
    head += data_head(data);
  }
  for (const auto& need : spec.needs) barriers.insert(parts_of.at(need).begin(), parts_of.at(need).end());
  const std::size_t vocabulary = vocabulary_of(settings.model);
  if (vocabulary != kNone) barriers.insert(vocabulary);
  barriers.insert(concepts.artifacts.begin(), concepts.artifacts.end());
  const std::size_t made = add_fixed(stage, 0, TaskKind::kTrain, 1, spec, head, barriers);
  Part& part = graph.parts[made];
  part.artifacts = concepts.artifacts;
  part.model_name = settings.model;
  part.vocabulary = vocabulary;
  if (vocabulary != kNone) part.artifacts.push_back(vocabulary);
  part.listed = std::move(listed_parts);
  part.data_json = jobs::data_json(graph.job.spec.data.at(settings.data));
  part.model_json = jobs::model_json(graph.job.spec.models.at(settings.model));
  if (const auto name = evaluated_on(spec); !name.empty())
    part.evaluate_data_json = jobs::data_json(graph.job.spec.data.at(name));
  result_of[spec.name] = made;
}

void GraphState::Builder::add_trained(std::uint32_t stage, const StageSpec& spec,
                                      const std::vector<std::string>& sets, const std::string& trained,
                                      TaskKind merge_kind) {
  const std::size_t model = result_of.at(trained);
  std::string head;
  std::vector<Part::Listed> listed_parts;
  std::set<std::size_t> maps;
  for (std::uint32_t i = 0; i < sets.size(); ++i) {
    jobs::EmbedSettings embed;
    embed.data = {sets[i]};
    embed.model = std::get<jobs::TrainSettings>(spec_of.at(trained)->settings).model;
    const MapPart map{TaskKind::kEmbed,
                      jobs::settings_json(embed),
                      address_part(jobs::StageSettings(embed)),
                      embed.model,
                      {model}};
    const std::size_t mapped = add_map(stage, spec, sets[i], i, map, true);
    std::vector<std::size_t> providers{mapped};
    const auto verdicts = range_inputs(spec, sets[i], "");
    providers.insert(providers.end(), verdicts.begin(), verdicts.end());
    listed_parts.push_back({table_of.at(sets[i]), std::move(providers)});
    maps.insert(mapped);
    head += data_head(sets[i]);
  }
  const std::size_t merge = add_fixed(stage, 1, merge_kind, 1, spec, head, maps);
  Part& part = graph.parts[merge];
  const Part& mapped = graph.parts[*maps.begin()];
  part.listed = std::move(listed_parts);
  part.artifacts = {model};
  part.model_name = mapped.model_name;
  part.vocabulary = mapped.vocabulary;
  part.data_json = mapped.data_json;
  part.model_json = mapped.model_json;
}

}  // namespace trireme::coordinator::planner

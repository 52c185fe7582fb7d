// From the job to the parts of its graph.
#include <algorithm>
#include <deque>
#include <set>

#include "common/base/error.h"
#include "coordinator/planner/graph_state.h"

namespace trireme::coordinator::planner {
namespace {

using jobs::StageSpec;
using jobs::TaskKind;

// Data sets a stage runs over; for a gang also the one it is evaluated on.
std::vector<std::string> data_of(const StageSpec& stage) {
  std::vector<std::string> names;
  std::visit(
      [&](const auto& settings) {
        if constexpr (std::is_same_v<std::decay_t<decltype(settings.data)>, std::string>)
          names = {settings.data};
        else
          names = settings.data;
      },
      stage.settings);
  if (const auto* evaluate = std::get_if<jobs::EvaluateSettings>(&stage.settings);
      evaluate != nullptr && !evaluate->train_data.empty() && evaluate->train_data != evaluate->data)
    names.push_back(evaluate->train_data);
  return names;
}

std::string evaluated_on(const StageSpec& stage) {
  const auto* train = std::get_if<jobs::TrainSettings>(&stage.settings);
  return train != nullptr && train->evaluate_every.steps > 0 ? train->evaluate_every.data : "";
}

bool lists(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

struct GraphState::Builder {
  GraphState& graph;
  ListedJob listed;
  std::map<std::string, std::size_t> table_of;
  std::map<std::string, const StageSpec*> spec_of;
  std::map<std::string, std::vector<std::size_t>> parts_of;  // all parts of a stage
  std::map<std::string, std::size_t> result_of;              // train stage -> its part

  void run() {
    for (const auto& stage : graph.job.spec.stages) spec_of[stage.name] = &stage;
    std::set<std::string> used;
    for (const auto& stage : graph.job.spec.stages) {
      for (const auto& name : data_of(stage)) used.insert(name);
      if (const auto name = evaluated_on(stage); !name.empty()) used.insert(name);
    }
    for (const auto& name : used) add_data(name);
    for (const StageSpec* stage : in_order()) add_stage(*stage);
    for (std::size_t i = 0; i < graph.parts.size(); ++i) find_twins(i);
  }

  // Needs first; otherwise as the job file has them.
  std::vector<const StageSpec*> in_order() const {
    std::vector<const StageSpec*> order;
    std::set<std::string> placed;
    const auto& given = graph.job.spec.stages;
    for (bool moved = true; moved && order.size() < given.size();) {
      moved = false;
      for (const auto& stage : given)
        if (!placed.contains(stage.name) &&
            std::ranges::all_of(stage.needs, [&](const auto& need) { return placed.contains(need); })) {
          order.push_back(&stage);
          placed.insert(stage.name);
          moved = true;
          break;
        }
    }
    if (order.size() < given.size())
      throw Error(ErrorKind::kInvalid, "the stages need one another in a circle");
    return order;
  }

  std::uint32_t new_stage(const std::string& name, const std::string& kind, std::vector<std::string> needs,
                          const StageSpec* spec) {
    graph.stages.push_back({name, kind, std::move(needs), spec == nullptr});
    graph.specs.push_back(spec);
    return static_cast<std::uint32_t>(graph.stages.size() - 1);
  }

  std::size_t new_part(std::uint32_t stage, std::uint32_t phase, std::uint32_t data, TaskKind kind,
                       Part::Items items, std::size_t table, const std::string& head) {
    Part part;
    part.stage = stage;
    part.phase = phase;
    part.data = data;
    part.kind = kind;
    part.items = items;
    part.table = table;
    part.address_head = std::string(jobs::name_of(kind)) + head;
    const std::size_t index = graph.parts.size();
    graph.parts.push_back(std::move(part));
    graph.part_at[{stage, phase, data}] = index;
    parts_of[graph.stages[stage].name].push_back(index);
    return index;
  }

  // ---- data sets ----

  void add_data(const std::string& name) {
    const jobs::DataSpec& spec = graph.job.spec.data.at(name);
    const std::size_t table = graph.tables.size();
    table_of[name] = table;
    graph.tables.emplace_back(name, spec, graph.job.spec.task_samples);
    graph.synthesizers.emplace_back(spec.sources.size(), kNone);
    std::vector<std::string> makers;
    std::size_t next = 0;
    auto& shards = listed.shards[name];
    const auto& identities = listed.identities[name];
    for (std::size_t source = 0; source < spec.sources.size(); ++source) {
      if (spec.sources[source].synthetic) makers.push_back(add_synthesizer(table, source));
      for (; next < shards.size() && shards[next].source == static_cast<std::int64_t>(source); ++next)
        graph.tables[table].add_shard(
            shards[next], next < identities.size() ? identities[next] : io::xxh3_64(shards[next].path));
    }
    shards = {};
    DataTable& made = graph.tables[table];
    if (made.size() == 0)
      throw Error(ErrorKind::kInvalid, "data set \"" + name + "\" has no shards",
                  "point it elsewhere with --set spec.data." + name + "=PATH");
    const std::uint32_t stage = new_stage("inspect:" + name, "inspect", makers, nullptr);
    const std::size_t inspector = new_part(stage, 0, 0, TaskKind::kInspect, Part::Items::kShards, table, "");
    graph.inspectors.push_back(inspector);
    graph.parts[inspector].settings = "{}";
    graph.parts[inspector].data_json = jobs::data_json(spec);
    graph.parts[inspector].grow(made.size());
    for (const std::size_t maker : graph.synthesizers[table])
      if (maker != kNone) graph.parts[maker].consumers.push_back(inspector);
  }

  std::string add_synthesizer(std::size_t table, std::size_t source) {
    DataTable& made = graph.tables[table];
    const jobs::SyntheticSpec& synthetic = *made.spec().sources[source].synthetic;
    const std::string name = "synthesize:" + made.name() + "/" + std::to_string(source);
    const std::string settings = jobs::synthetic_json(synthetic);
    const std::uint32_t stage = new_stage(name, "synthesize", {}, nullptr);
    const std::size_t index =
        new_part(stage, 0, 0, TaskKind::kSynthesize, Part::Items::kSynthetic, table, settings);
    Part& part = graph.parts[index];
    part.settings = settings;
    part.base = made.size();
    part.grow(synthetic.shards);
    graph.synthesizers[table][source] = index;
    for (std::int64_t i = 0; i < synthetic.shards; ++i) {
      jobs::ShardRef shard;
      shard.path = output_base(graph.store, part.kind, graph.address(index, i)) + output_extension(part.kind);
      shard.format = "clip_benchmark";
      shard.source = static_cast<std::int64_t>(source);
      made.add_shard(shard, 0);
    }
    return name;
  }

  // ---- named stages ----

  // The nearest stage that `from` needs and that fits; nullptr when none.
  template <class Fits>
  const StageSpec* nearest(const StageSpec& from, const Fits& fits) const {
    std::deque<const StageSpec*> queue{&from};
    std::set<const StageSpec*> seen{&from};
    while (!queue.empty()) {
      const StageSpec* here = queue.front();
      queue.pop_front();
      if (here != &from && fits(*here)) return here;
      for (const auto& need : here->needs)
        if (seen.insert(spec_of.at(need)).second) queue.push_back(spec_of.at(need));
    }
    return nullptr;
  }

  // The part of a map stage over one data set, kNone without the stage.
  std::size_t part_over(const StageSpec* stage, const std::string& data) const {
    if (stage == nullptr) return kNone;
    for (const std::size_t part : parts_of.at(stage->name))
      if (graph.parts[part].phase == 0 && graph.tables[graph.parts[part].table].name() == data) return part;
    return kNone;
  }

  // What another stage left per range of `data`: verdicts, and features when `model` (a name in spec.models)
  // is given.
  std::vector<std::size_t> range_inputs(const StageSpec& stage, const std::string& data,
                                        const std::string& model, const std::string& not_from = "") const {
    std::vector<std::size_t> found;
    const auto add = [&](std::size_t part) {
      if (part != kNone) found.push_back(part);
    };
    add(part_over(nearest(stage,
                          [&](const StageSpec& s) {
                            return s.kind == "filter" && s.name != not_from && lists(data_of(s), data);
                          }),
                  data));
    if (model.empty()) return found;
    add(part_over(nearest(stage,
                          [&](const StageSpec& s) {
                            const auto* embed = std::get_if<jobs::EmbedSettings>(&s.settings);
                            return s.kind == "embed" && embed->model == model && lists(embed->data, data);
                          }),
                  data));
    return found;
  }

  // `part` starts when all of these are complete.
  void wait_for(std::size_t part, const std::set<std::size_t>& barriers) {
    graph.parts[part].barriers_left = barriers.size();
    for (const std::size_t barrier : barriers) graph.parts[barrier].waiters.push_back(part);
  }

  std::string data_head(const std::string& data) const {
    const auto found = graph.labels.find(data);
    return "\n" + address_part(graph.job.spec.data.at(data), found == graph.labels.end() ? 0 : found->second);
  }

  std::string model_head(const std::string& model) const {
    return "\n" + address_part(graph.job.spec.models.at(model), graph.weights);
  }

  void add_stage(const StageSpec& spec) {
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

  // The last part of the vocabulary stage that model `name` takes its vocabulary from, kNone without one. A
  // part that runs the model waits for it and has it among its artifacts.
  std::size_t vocabulary_of(const std::string& name) const {
    if (name.empty()) return kNone;
    const std::string stage = jobs::vocabulary_stage(graph.job.spec.models.at(name).text.tokenizer);
    return stage.empty() ? kNone : parts_of.at(stage).back();
  }

  struct MapPart {
    TaskKind kind;
    std::string settings, settings_part;  // as sent, and as addressed
    std::string model;                    // in spec.models, "" when none
    std::vector<std::size_t> artifacts;
    std::uint32_t phase = 0;
    bool place_matters = false;
    std::string also = {};      // a filter stage whose verdicts are read beside those of the nearest one
    std::size_t facts = kNone;  // the measures that verdicts are made of
  };

  std::size_t add_map(std::uint32_t stage, const StageSpec& spec, const std::string& data,
                      std::uint32_t index, const MapPart& map, bool features) {
    const std::string head =
        map.settings_part + data_head(data) + (map.model.empty() ? "" : model_head(map.model));
    const std::size_t made =
        new_part(stage, map.phase, index, map.kind, Part::Items::kRanges, table_of.at(data), head);
    Part& part = graph.parts[made];
    part.place_matters = map.place_matters;
    part.settings = map.settings;
    part.data_json = jobs::data_json(graph.job.spec.data.at(data));
    if (!map.model.empty()) part.model_json = jobs::model_json(graph.job.spec.models.at(map.model));
    if (map.kind != TaskKind::kMeasure)
      part.providers = range_inputs(spec, data, features ? map.model : "", map.also);
    if (!map.also.empty()) part.providers.push_back(part_over(spec_of.at(map.also), data));
    if (map.facts != kNone) part.providers.push_back(map.facts);
    part.artifacts = map.artifacts;
    part.model_name = map.model;
    part.vocabulary = vocabulary_of(map.model);
    if (part.vocabulary != kNone) part.artifacts.push_back(part.vocabulary);
    for (const std::size_t provider : part.providers) graph.parts[provider].consumers.push_back(made);
    std::set<std::size_t> barriers(part.artifacts.begin(), part.artifacts.end());
    for (const auto& need : spec.needs)  // a need that gives nothing range by range comes first as a whole
      if (!(map.kind == TaskKind::kMeasure && spec_of.at(need)->kind == "filter") &&
          std::ranges::none_of(
              part.providers, [&](std::size_t p) { return graph.stages[graph.parts[p].stage].name == need; }))
        barriers.insert(parts_of.at(need).begin(), parts_of.at(need).end());
    wait_for(made, barriers);
    return made;
  }

  // The merged parts of the nearest tally of that kind over all of the data; empty without one.
  template <class Tally>
  std::vector<std::size_t> tally_of(const StageSpec& spec, const std::vector<std::string>& data,
                                    std::uint32_t phase = 1) const {
    const StageSpec* tally = nearest(spec, [&](const StageSpec& s) {
      const auto* settings = std::get_if<Tally>(&s.settings);
      return settings != nullptr &&
             std::ranges::all_of(data, [&](const auto& name) { return lists(settings->data, name); });
    });
    std::vector<std::size_t> merged;
    for (const std::size_t part : tally == nullptr ? std::vector<std::size_t>{} : parts_of.at(tally->name))
      if (graph.parts[part].phase == phase) merged.push_back(part);
    return merged;
  }

  std::string file_head(const std::string& what) const {
    const auto found = graph.weights.find(what);
    return found == graph.weights.end() ? "" : "\n" + io::hex(found->second);
  }

  // Measures first (phase 1), where a share of a column is kept the cuts (phase 2), then verdicts (phase 0,
  // what other stages mean by "the filter").
  void add_filter(std::uint32_t stage, const StageSpec& spec) {
    const auto& settings = std::get<jobs::FilterSettings>(spec.settings);
    jobs::MeasureSettings measures = jobs::measures_of(settings);
    std::vector<std::size_t> artifacts, ngrams;
    const auto add = [&](const std::vector<std::size_t>& more) {
      artifacts.insert(artifacts.end(), more.begin(), more.end());
    };
    if (measures.pairs) add(tally_of<jobs::PairCountsSettings>(spec, settings.data));
    if (measures.ngrams) add(ngrams = tally_of<jobs::NgramCountsSettings>(spec, settings.data));
    if (!measures.unique.empty()) add(tally_of<jobs::DuplicatesSettings>(spec, settings.data));
    if (measures.near || !measures.against.empty()) {
      std::vector<std::string> compared = settings.data;
      compared.insert(compared.end(), settings.against.begin(), settings.against.end());
      add(tally_of<jobs::NearDuplicatesSettings>(spec, compared, 2));
    }
    MapPart measure{TaskKind::kMeasure, jobs::measure_json(measures), "", "", artifacts};
    measure.phase = 1;
    measure.place_matters = !measures.unique.empty() || measures.near || !measures.against.empty();
    measures.score_folders.clear();
    measure.settings_part = jobs::measure_json(measures);
    MapPart judge{TaskKind::kFilter, jobs::settings_json(spec.settings), address_part(spec.settings), "",
                  settings.max_ngrams ? ngrams : std::vector<std::size_t>{}};
    judge.settings_part += file_head("list " + settings.keep_list) + file_head("list " + settings.drop_list);
    judge.also = settings.random_like;
    const std::string settings_part = measure.settings_part;
    std::vector<std::size_t> facts;
    std::vector<Part::Listed> listed_parts;
    for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
      measure.settings_part = settings_part + file_head("scores " + spec.name + "/" + settings.data[i]);
      facts.push_back(add_map(stage, spec, settings.data[i], i, measure, false));
      listed_parts.push_back({table_of.at(settings.data[i]), {facts.back()}});
    }
    if (std::ranges::any_of(settings.columns,
                            [](const auto& rule) { return rule.top_fraction.has_value(); })) {
      const std::size_t cuts = add_fixed(stage, 2, TaskKind::kCuts, 1, spec, "",
                                         std::set<std::size_t>(facts.begin(), facts.end()));
      graph.parts[cuts].listed = std::move(listed_parts);
      judge.artifacts.push_back(cuts);
    }
    for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
      judge.facts = facts[i];
      add_map(stage, spec, settings.data[i], i, judge, false);
    }
  }

  void add_embed(std::uint32_t stage, const StageSpec& spec) {
    const auto& settings = std::get<jobs::EmbedSettings>(spec.settings);
    const MapPart map{TaskKind::kEmbed,
                      jobs::settings_json(spec.settings),
                      address_part(spec.settings),
                      settings.model,
                      {}};
    for (std::uint32_t i = 0; i < settings.data.size(); ++i)
      add_map(stage, spec, settings.data[i], i, map, false);
  }

  // The captioner is a model of the job's, or what a train stage has made of one.
  void add_caption(std::uint32_t stage, const StageSpec& spec) {
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

  // A part of one task (or of one per partition) that reads an inputs file.
  std::size_t add_fixed(std::uint32_t stage, std::uint32_t phase, TaskKind kind, std::int64_t items,
                        const StageSpec& spec, const std::string& head, std::set<std::size_t> barriers) {
    const std::size_t made =
        new_part(stage, phase, 0, kind, Part::Items::kFixed, kNone, address_part(spec.settings) + head);
    graph.parts[made].settings = jobs::settings_json(spec.settings);
    graph.parts[made].grow(items);
    wait_for(made, barriers);
    return made;
  }

  // Maps over every data set, then one merge task per partition: the part of the merges.
  template <class Settings>
  std::size_t add_tally(std::uint32_t stage, const StageSpec& spec, TaskKind map_kind, TaskKind merge_kind) {
    const auto& settings = std::get<Settings>(spec.settings);
    const MapPart map{map_kind, jobs::settings_json(spec.settings), address_part(spec.settings), "", {}};
    std::vector<Part::Listed> listed_parts;
    std::set<std::size_t> maps;
    std::string names;  // who is first among equals is told by name
    for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
      const std::size_t made = add_map(stage, spec, settings.data[i], i, map, false);
      maps.insert(made);
      listed_parts.push_back({table_of.at(settings.data[i]), {made}});
      names += "\n" + settings.data[i];
    }
    const std::string head = merge_kind == TaskKind::kDuplicatesMerge ? names : "";
    const std::size_t merge = add_fixed(stage, 1, merge_kind, settings.partitions, spec, head, maps);
    graph.parts[merge].listed = std::move(listed_parts);
    return merge;
  }

  // Signatures (phase 0), pairs (phase 1), clusters (phase 2). No threshold decides the signatures.
  void add_near_duplicates(std::uint32_t stage, const StageSpec& spec) {
    const auto& settings = std::get<jobs::NearDuplicatesSettings>(spec.settings);
    const MapPart map{TaskKind::kSignatures, jobs::settings_json(spec.settings), "", "", {}};
    std::vector<Part::Listed> listed_parts;
    std::set<std::size_t> maps;
    std::string names;
    for (std::uint32_t i = 0; i < settings.data.size(); ++i) {
      const std::size_t made = add_map(stage, spec, settings.data[i], i, map, false);
      maps.insert(made);
      listed_parts.push_back({table_of.at(settings.data[i]), {made}});
      names += "\n" + settings.data[i];
    }
    const std::size_t pairs =
        add_fixed(stage, 1, TaskKind::kNearPairs, settings.partitions, spec, names, maps);
    graph.parts[pairs].listed = listed_parts;
    const std::size_t clusters = add_fixed(stage, 2, TaskKind::kNearClusters, 1, spec, names, {pairs});
    graph.parts[clusters].listed = std::move(listed_parts);
    graph.parts[clusters].artifacts = {pairs};
  }

  void add_vocabulary(std::uint32_t stage, const StageSpec& spec) {
    const std::size_t merge = add_tally<jobs::VocabularySettings>(stage, spec, TaskKind::kVocabularyMap,
                                                                  TaskKind::kVocabularyMerge);
    const std::size_t last = add_fixed(stage, 2, TaskKind::kVocabularyTrain, 1, spec, "", {merge});
    graph.parts[last].artifacts = {merge};
  }

  void add_concept_vocabulary(std::uint32_t stage, const StageSpec& spec) {
    const std::size_t merge = add_tally<jobs::ConceptVocabularySettings>(
        stage, spec, TaskKind::kConceptWordsMap, TaskKind::kConceptWordsMerge);
    const std::size_t last = add_fixed(stage, 2, TaskKind::kConceptVocabulary, 1, spec, "", {merge});
    graph.parts[last].artifacts = {merge};
  }

  // The last part of the stage that "stage:<name>" names, kNone for anything else.
  std::size_t artifact_of(const std::string& value) const {
    const std::string stage = jobs::named_stage(value);
    return stage.empty() ? kNone : parts_of.at(stage).back();
  }

  // One task settles on teacher and vocabularies (phase 1), then every range is labelled.
  void add_concepts(std::uint32_t stage, const StageSpec& spec) {
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

  // What concept heads read: labels of the training data's ranges, and files of vocabularies.
  struct HeadInputs {
    std::vector<std::size_t> providers, artifacts;
    std::string head;
  };
  HeadInputs head_inputs(const jobs::TrainSettings& settings) const {
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

  // Captions of others against those of the data set: no model, nothing range by range but the captions.
  void add_caption_scores(std::uint32_t stage, const StageSpec& spec,
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

  void add_export(std::uint32_t stage, const StageSpec& spec) {
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

  void add_train(std::uint32_t stage, const StageSpec& spec, const std::vector<std::string>& sets) {
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

  // evaluate and index: embeddings of a trained model, which both share, then one merge. The first of `sets`
  // is the one that is evaluated or indexed.
  void add_trained(std::uint32_t stage, const StageSpec& spec, const std::vector<std::string>& sets,
                   const std::string& trained, TaskKind merge_kind) {
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

  // Parts whose tasks may be the same work: the later one is held back until the first is done.
  void find_twins(std::size_t index) {
    Part& part = graph.parts[index];
    if (part.items == Part::Items::kFixed) return;
    const auto same_sources = [&](const Part& other) {
      if (part.table == other.table) return true;
      const auto& mine = graph.tables[part.table].spec().sources;
      const auto& theirs = graph.tables[other.table].spec().sources;
      return std::ranges::any_of(mine, [&](const auto& a) {
        return std::ranges::any_of(theirs, [&](const auto& b) {
          return a.path == b.path && a.synthetic.has_value() == b.synthetic.has_value();
        });
      });
    };
    for (std::size_t other = 0; other < graph.parts.size(); ++other)
      if (other != index && graph.parts[other].items == part.items &&
          graph.parts[other].address_head == part.address_head && same_sources(graph.parts[other]))
        part.may_have_twins = true;
  }
};

void GraphState::build(ListedJob listed) {
  weights = listed.weights;
  labels = listed.labels;
  output = job.spec.output;
  store = job.spec.store.empty() ? output + "/store" : job.spec.store;
  Builder{*this, std::move(listed), {}, {}, {}, {}}.run();
}

}  // namespace trireme::coordinator::planner

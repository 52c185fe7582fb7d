// The order of stages, data sets, and what every stage uses.
#include <algorithm>

#include "common/base/error.h"
#include "coordinator/planner/graph_builder.h"
#include "jobs/specification/checks/check.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::planner {

bool filtered_before(const std::vector<StageSpec>& stages, const StageSpec& stage, const std::string& data) {
  return std::ranges::any_of(jobs::all_needs(stages, stage), [&](const StageSpec* need) {
    return std::holds_alternative<jobs::FilterSettings>(need->settings) && lists(jobs::data_of(*need), data);
  });
}

void GraphState::Builder::run() {
  for (const auto& stage : graph.job.spec.stages) spec_of[stage.name] = &stage;
  std::set<std::string> used;
  for (const auto& stage : graph.job.spec.stages) {
    for (const auto& name : jobs::data_of(stage)) used.insert(name);
    if (const auto name = jobs::evaluated_on(stage); !name.empty()) used.insert(name);
  }
  for (const auto& name : used) add_data(name);
  for (const StageSpec* stage : in_order()) add_stage(*stage);
  for (std::size_t i = 0; i < graph.parts.size(); ++i) find_twins(i);
}

std::vector<const StageSpec*> GraphState::Builder::in_order() const {
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

std::uint32_t GraphState::Builder::new_stage(const std::string& name, const jobs::StageRow& row,
                                             std::vector<std::string> needs, const StageSpec* spec) {
  graph.stages.push_back({name, std::string(row.name), std::move(needs), spec == nullptr, &row});
  graph.specs.push_back(spec);
  return static_cast<std::uint32_t>(graph.stages.size() - 1);
}

std::size_t GraphState::Builder::new_part(std::uint32_t stage, std::uint32_t data, TaskKind kind,
                                          std::size_t table, const std::string& head) {
  Part part;
  part.stage = stage;
  part.phase = graph.stages[stage].row->phase_of(kind);
  part.data = data;
  part.kind = kind;
  part.table = table;
  part.address_head = std::string(jobs::name_of(kind)) + head;
  const std::size_t index = graph.parts.size();
  graph.parts.push_back(std::move(part));
  graph.part_at[{stage, graph.parts[index].phase, data}] = index;
  parts_of[graph.stages[stage].name].push_back(index);
  return index;
}

void GraphState::Builder::add_data(const std::string& name) {
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
  if (const auto named = graph.classes.find(name); named != graph.classes.end())
    made.set_classes(named->second);
  if (made.size() == 0)
    throw Error(ErrorKind::kInvalid, "data set \"" + name + "\" has no shards",
                "point it elsewhere with --set spec.data." + name + "=PATH");
  const std::uint32_t stage = new_stage("inspect:" + name, jobs::kInspectRow, makers, nullptr);
  const std::size_t inspector = new_part(stage, 0, TaskKind::kInspect, table, "");
  graph.inspectors.push_back(inspector);
  graph.parts[inspector].settings = "{}";
  graph.parts[inspector].data_json = jobs::data_json(spec);
  graph.parts[inspector].grow(made.size());
  for (const std::size_t maker : graph.synthesizers[table])
    if (maker != kNone) graph.parts[maker].consumers.push_back(inspector);
}

std::string GraphState::Builder::add_synthesizer(std::size_t table, std::size_t source) {
  DataTable& made = graph.tables[table];
  const jobs::SyntheticSpec& synthetic = *made.spec().sources[source].synthetic;
  const std::string name = "synthesize:" + made.name() + "/" + std::to_string(source);
  const std::string settings = jobs::synthetic_json(synthetic);
  const std::uint32_t stage = new_stage(name, jobs::kSynthesizeRow, {}, nullptr);
  const std::size_t index = new_part(stage, 0, TaskKind::kSynthesize, table, address_part(synthetic));
  Part& part = graph.parts[index];
  part.settings = settings;
  part.base = made.size();
  part.grow(synthetic.shards);
  graph.synthesizers[table][source] = index;
  for (std::int64_t i = 0; i < synthetic.shards; ++i) {
    jobs::ShardRef shard;
    shard.path = output_path(graph.store, part.kind, graph.address(index, i));
    shard.format = jobs::DataFormat::kClipBenchmark;
    shard.source = static_cast<std::int64_t>(source);
    made.add_shard(shard, 0);
  }
  return name;
}

std::size_t GraphState::Builder::part_over(const StageSpec* stage, const std::string& data) const {
  if (stage == nullptr) return kNone;
  for (const std::size_t part : parts_of.at(stage->name))
    if (graph.parts[part].kind == jobs::row_of(stage->settings).result &&
        graph.tables[graph.parts[part].table].name() == data)
      return part;
  return kNone;
}

std::vector<std::size_t> GraphState::Builder::range_inputs(const StageSpec& stage, const std::string& data,
                                                           const std::string& model,
                                                           const std::string& not_from) const {
  std::vector<std::size_t> found;
  const auto add = [&](std::size_t part) {
    if (part != kNone) found.push_back(part);
  };
  add(part_over(nearest(stage,
                        [&](const StageSpec& s) {
                          return std::holds_alternative<jobs::FilterSettings>(s.settings) &&
                                 s.name != not_from && lists(jobs::data_of(s), data);
                        }),
                data));
  if (model.empty()) return found;
  add(part_over(nearest(stage,
                        [&](const StageSpec& s) {
                          const auto* embed = std::get_if<jobs::EmbedSettings>(&s.settings);
                          return embed != nullptr && embed->model == model && lists(embed->data, data);
                        }),
                data));
  return found;
}

void GraphState::Builder::wait_for(std::size_t part, const std::set<std::size_t>& barriers) {
  graph.parts[part].barriers_left = barriers.size();
  for (const std::size_t barrier : barriers) graph.parts[barrier].waiters.push_back(part);
}

std::string GraphState::Builder::data_head(const std::string& data) const {
  const auto found = graph.labels.find(data);
  return "\n" + address_part(graph.job.spec.data.at(data), found == graph.labels.end() ? 0 : found->second);
}

std::string GraphState::Builder::model_head(const std::string& model) const {
  return "\n" + address_part(graph.job.spec.models.at(model), graph.weights);
}

std::size_t GraphState::Builder::add_map(std::uint32_t stage, const StageSpec& spec, const std::string& data,
                                         std::uint32_t index, const MapPart& map, bool features) {
  const std::string head =
      map.settings_part + data_head(data) + (map.model.empty() ? "" : model_head(map.model));
  const std::size_t made = new_part(stage, index, map.kind, table_of.at(data), head);
  Part& part = graph.parts[made];
  part.place_matters = map.place_matters;
  part.settings = map.settings;
  part.data_json = jobs::data_json(graph.job.spec.data.at(data));
  if (!map.model.empty()) part.model_json = jobs::model_json(graph.job.spec.models.at(map.model));
  if (!map.alone) part.providers = range_inputs(spec, data, features ? map.model : "", map.also);
  if (!map.also.empty()) part.providers.push_back(part_over(spec_of.at(map.also), data));
  part.providers.insert(part.providers.end(), map.made_from.begin(), map.made_from.end());
  part.artifacts = map.artifacts;
  part.model_name = map.model;
  part.vocabulary = vocabulary_of(map.model);
  if (part.vocabulary != kNone) part.artifacts.push_back(part.vocabulary);
  part.starts = starts_of(map.model);
  for (const std::size_t provider : part.providers) graph.parts[provider].consumers.push_back(made);
  std::set<std::size_t> barriers(part.artifacts.begin(), part.artifacts.end());
  barriers.insert(part.starts.begin(), part.starts.end());
  for (const auto& need : spec.needs)  // a need that gives nothing range by range comes first as a whole
    if (map.waits &&
        !(map.alone && std::holds_alternative<jobs::FilterSettings>(spec_of.at(need)->settings)) &&
        std::ranges::none_of(part.providers,
                             [&](std::size_t p) { return graph.stages[graph.parts[p].stage].name == need; }))
      barriers.insert(parts_of.at(need).begin(), parts_of.at(need).end());
  wait_for(made, barriers);
  return made;
}

std::size_t GraphState::Builder::add_fixed(std::uint32_t stage, TaskKind kind, std::int64_t items,
                                           const StageSpec& spec, const std::string& head,
                                           std::set<std::size_t> barriers) {
  const std::size_t made = new_part(stage, 0, kind, kNone, address_part(spec.settings) + head);
  graph.parts[made].settings = jobs::settings_json(spec.settings);
  graph.parts[made].grow(items);
  wait_for(made, barriers);
  return made;
}

void GraphState::Builder::find_twins(std::size_t index) {
  Part& part = graph.parts[index];
  if (part.is_numbered()) return;
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
    if (other != index && graph.parts[other].kind == part.kind &&
        graph.parts[other].address_head == part.address_head && same_sources(graph.parts[other]))
      part.may_have_twins = true;
}

void GraphState::build(ListedJob listed) {
  weights = listed.weights;
  labels = listed.labels;
  decided = listed.decided;
  classes = listed.classes;
  notes = listed.notes;
  quarantined = std::move(listed.quarantined);
  for (const auto& [name, data] : listed.data) job.spec.data[name] = data;
  output = job.spec.output;
  store = store::store_of(job.spec);
  Builder{*this, std::move(listed), {}, {}, {}}.run();
}

}  // namespace trireme::coordinator::planner

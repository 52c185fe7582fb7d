// From the job to the parts of its graph: what GraphState::build() works with. Data sets first (rendered,
// then inspected), then the stages in the order of their needs (graph_stages.cpp has one overload per kind).
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "coordinator/planner/graph_state.h"

namespace trireme::coordinator::planner {

using jobs::StageSpec;
using jobs::TaskKind;

inline bool lists(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

struct GraphState::Builder {
  GraphState& graph;
  ListedJob listed;
  std::map<std::string, std::size_t> table_of;
  std::map<std::string, const StageSpec*> spec_of;
  std::map<std::string, std::vector<std::size_t>> parts_of;  // all parts of a stage

  void run();
  // Needs first; otherwise as the job file has them.
  std::vector<const StageSpec*> in_order() const;
  std::uint32_t new_stage(const std::string& name, const jobs::StageRow& row, std::vector<std::string> needs,
                          const StageSpec* spec);
  std::size_t new_part(std::uint32_t stage, std::uint32_t data, TaskKind kind, std::size_t table,
                       const std::string& head);

  void add_data(const std::string& name);
  std::string add_synthesizer(std::size_t table, std::size_t source);

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
  std::size_t part_over(const StageSpec* stage, const std::string& data) const;
  // What another stage left per range of `data`: verdicts, and features when `model` (a name in spec.models)
  // is given.
  std::vector<std::size_t> range_inputs(const StageSpec& stage, const std::string& data,
                                        const std::string& model, const std::string& not_from = "") const;

  // `part` starts when all of these are complete.
  void wait_for(std::size_t part, const std::set<std::size_t>& barriers);
  std::string data_head(const std::string& data) const;
  std::string model_head(const std::string& model) const;

  void add_stage(const StageSpec& spec);
  // The last part of the vocabulary stage that model `name` takes its vocabulary from, kNone without one. A
  // part that runs the model waits for it and has it among its artifacts.
  std::size_t vocabulary_of(const std::string& name) const;
  // The parts whose weights model `name` of spec.models starts from: init_from and blend, "stage:<name>".
  std::vector<std::size_t> starts_of(const std::string& name) const;
  // The part that makes a folder of model `name` of spec.models, as a train stage would leave it: one in the
  // whole job, of the first stage that asks.
  std::size_t adopted(std::uint32_t stage, const std::string& name);
  std::map<std::string, std::size_t> adopted_of = {};

  struct MapPart {
    TaskKind kind;
    std::string settings, settings_part;  // as sent, and as addressed
    std::string model;                    // in spec.models, "" when none
    std::vector<std::size_t> artifacts;
    bool place_matters = false;
    std::string also = {};  // a filter stage whose verdicts are read beside those of the nearest one
    // What the part is made from, range by range: measures for verdicts, scores for measures, embeddings for
    // scores.
    std::vector<std::size_t> made_from = {};
    bool alone = false;  // reads nothing else of its range: no verdicts, no features
    bool waits = true;   // for needs that give nothing range by range; else what it is made from has waited
  };
  std::size_t add_map(std::uint32_t stage, const StageSpec& spec, const std::string& data,
                      std::uint32_t index, const MapPart& map, bool features);

  // The result of the nearest tally of that kind over all of the data (that fits); empty without one.
  template <class Tally>
  std::vector<std::size_t> tally_of(
      const StageSpec& spec, const std::vector<std::string>& data,
      const std::function<bool(const Tally&)>& fits = [](const Tally&) { return true; }) const {
    const StageSpec* tally = nearest(spec, [&](const StageSpec& s) {
      const auto* settings = std::get_if<Tally>(&s.settings);
      return settings != nullptr && fits(*settings) &&
             std::ranges::all_of(data, [&](const auto& name) { return lists(settings->data, name); });
    });
    std::vector<std::size_t> merged;
    for (const std::size_t part : tally == nullptr ? std::vector<std::size_t>{} : parts_of.at(tally->name))
      if (graph.parts[part].kind == jobs::row_of(tally->settings).result) merged.push_back(part);
    return merged;
  }
  std::string file_head(const std::string& what) const;
  // The last part of the stage that "stage:<name>" names, kNone for anything else.
  std::size_t artifact_of(const std::string& value) const;

  // A part of one task (or of one per partition) that reads an inputs file.
  std::size_t add_fixed(std::uint32_t stage, TaskKind kind, std::int64_t items, const StageSpec& spec,
                        const std::string& head, std::set<std::size_t> barriers);

  // Parts whose tasks may be the same work: the later one is held back until the first is done.
  void find_twins(std::size_t index);
};

// What a task of the stage is told and addressed by.
GraphState::Builder::MapPart map_of(TaskKind kind, const jobs::StageSettings& settings,
                                    const std::string& model = "");
// The train stage that "stage:<name>" names, nullptr for anything else.
const jobs::TrainSettings* trained_by(const GraphState::Builder& builder, const std::string& value);

// evaluate and index: embeddings in the shared space of a trained or given model, which both share, of an
// index segments of them, then one merge. The first data set of the stage is the one that is evaluated or
// indexed.
void add_whole_model(GraphState::Builder& builder, std::uint32_t stage, const StageSpec& spec,
                     const std::string& model, TaskKind merge_kind, std::string head,
                     const jobs::EmbedSettings& embeddings = {});

void add_train(GraphState::Builder& builder, std::uint32_t stage, const StageSpec& spec,
               const jobs::TrainSettings& settings);

}  // namespace trireme::coordinator::planner

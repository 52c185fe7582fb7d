// From the job to the parts of its graph: what GraphState::build() works with. Data sets first (rendered,
// then inspected), then the stages in the order of their needs (graph_stages.cpp has one function per kind).
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

// Data sets a stage runs over; for a gang also the one it is evaluated on.
std::vector<std::string> data_of(const StageSpec& stage);
std::string evaluated_on(const StageSpec& stage);

inline bool lists(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

struct GraphState::Builder {
  GraphState& graph;
  ListedJob listed;
  std::map<std::string, std::size_t> table_of;
  std::map<std::string, const StageSpec*> spec_of;
  std::map<std::string, std::vector<std::size_t>> parts_of;  // all parts of a stage
  std::map<std::string, std::size_t> result_of;              // train stage -> its part

  void run();
  // Needs first; otherwise as the job file has them.
  std::vector<const StageSpec*> in_order() const;
  std::uint32_t new_stage(const std::string& name, const std::string& kind, std::vector<std::string> needs,
                          const StageSpec* spec);
  std::size_t new_part(std::uint32_t stage, std::uint32_t phase, std::uint32_t data, TaskKind kind,
                       Part::Items items, std::size_t table, const std::string& head);

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

  struct MapPart {
    TaskKind kind;
    std::string settings, settings_part;  // as sent, and as addressed
    std::string model;                    // in spec.models, "" when none
    std::vector<std::size_t> artifacts;
    std::uint32_t phase = 0;
    bool place_matters = false;
    std::string also = {};  // a filter stage whose verdicts are read beside those of the nearest one
    // What the part is made from, range by range: measures for verdicts, scores for measures, embeddings for
    // scores. A measure or score reads nothing else of its range.
    std::vector<std::size_t> made_from = {};
  };
  std::size_t add_map(std::uint32_t stage, const StageSpec& spec, const std::string& data,
                      std::uint32_t index, const MapPart& map, bool features);

  // The merged parts of the nearest tally of that kind over all of the data (that fits); empty without one.
  template <class Tally>
  std::vector<std::size_t> tally_of(
      const StageSpec& spec, const std::vector<std::string>& data, std::uint32_t phase = 1,
      const std::function<bool(const Tally&)>& fits = [](const Tally&) { return true; }) const {
    const StageSpec* tally = nearest(spec, [&](const StageSpec& s) {
      const auto* settings = std::get_if<Tally>(&s.settings);
      return settings != nullptr && fits(*settings) &&
             std::ranges::all_of(data, [&](const auto& name) { return lists(settings->data, name); });
    });
    std::vector<std::size_t> merged;
    for (const std::size_t part : tally == nullptr ? std::vector<std::size_t>{} : parts_of.at(tally->name))
      if (graph.parts[part].phase == phase) merged.push_back(part);
    return merged;
  }
  std::string file_head(const std::string& what) const;

  // Measures first (phase 1), where a share of a column is kept the cuts (phase 2), then verdicts (phase 0,
  // what other stages mean by "the filter").
  void add_filter(std::uint32_t stage, const StageSpec& spec);
  void add_embed(std::uint32_t stage, const StageSpec& spec);
  // The captioner is a model of the job's, or what a train stage has made of one.
  void add_caption(std::uint32_t stage, const StageSpec& spec);

  // A part of one task (or of one per partition) that reads an inputs file.
  std::size_t add_fixed(std::uint32_t stage, std::uint32_t phase, TaskKind kind, std::int64_t items,
                        const StageSpec& spec, const std::string& head, std::set<std::size_t> barriers);

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

  // Signatures or embeddings (phase 0), pairs (phase 1), clusters (phase 2). No threshold decides the first.
  void add_near_duplicates(std::uint32_t stage, const StageSpec& spec);
  MapPart signatures_of(const StageSpec& spec, const std::string& data) const;
  // Both towers of a model in spec.models or of "stage:<train stage>", as an embed task.
  MapPart embeddings_of(const StageSpec& spec, const std::string& data, const std::string& model) const;
  // Clusters that a filter reads: for `near_unique`, and for `against` all of images.
  std::vector<std::size_t> clusters_for(const StageSpec& spec, const jobs::FilterSettings& settings) const;
  // Embeddings (phase 1), then their scores (phase 0).
  void add_pair_scores(std::uint32_t stage, const StageSpec& spec);
  std::vector<std::size_t> scores_for(const jobs::FilterSettings& settings, const std::string& data) const;
  void add_vocabulary(std::uint32_t stage, const StageSpec& spec);
  void add_concept_vocabulary(std::uint32_t stage, const StageSpec& spec);
  // The last part of the stage that "stage:<name>" names, kNone for anything else.
  std::size_t artifact_of(const std::string& value) const;

  // One task settles on teacher and vocabularies (phase 1), then every range is labelled.
  void add_concepts(std::uint32_t stage, const StageSpec& spec);

  // What concept heads read: labels of the training data's ranges, and files of vocabularies.
  struct HeadInputs {
    std::vector<std::size_t> providers, artifacts;
    std::string head;
  };
  HeadInputs head_inputs(const jobs::TrainSettings& settings) const;

  // Captions of others against those of the data set: no model, nothing range by range but the captions.
  void add_caption_scores(std::uint32_t stage, const StageSpec& spec, const jobs::EvaluateSettings& settings);
  void add_export(std::uint32_t stage, const StageSpec& spec);
  void add_train(std::uint32_t stage, const StageSpec& spec, const std::vector<std::string>& sets);

  // evaluate and index: embeddings of a trained model, which both share, then one merge. The first of `sets`
  // is the one that is evaluated or indexed.
  void add_trained(std::uint32_t stage, const StageSpec& spec, const std::vector<std::string>& sets,
                   const std::string& trained, TaskKind merge_kind);

  // Parts whose tasks may be the same work: the later one is held back until the first is done.
  void find_twins(std::size_t index);
};

}  // namespace trireme::coordinator::planner

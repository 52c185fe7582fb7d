// The inside of TaskGraph. A part is one phase of a stage over one data set: its tasks are its items (shards,
// ranges or a fixed number). An item is ready when the part's barriers are down and the same item of every
// provider is done. graph_build.cpp makes the parts, graph_run.cpp moves them, graph_tasks.cpp describes
// their tasks.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "coordinator/planner/address.h"
#include "coordinator/planner/data_table.h"
#include "coordinator/planner/task_graph.h"

namespace trireme::coordinator::planner {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

struct Part {
  enum State : std::uint8_t { kWaiting, kReady, kHeld, kDone };
  struct Record {
    io::Hash128 address;
    std::uint64_t xxh3 = 0;  // of the main output
  };

  std::uint32_t stage = 0, phase = 0, data = 0;
  jobs::TaskKind kind = jobs::TaskKind::kInspect;
  std::size_t table = kNone;
  std::size_t vocabulary = kNone;  // part that makes the vocabulary of model `model_name`
  std::string model_name;
  std::int64_t base = 0;  // Extent::kPiece: manifest position of the source's first shard
  std::string settings, data_json, model_json, evaluate_data_json;  // as tasks carry them
  std::string address_head;
  bool may_have_twins = false;
  bool place_matters = false;  // bytes depend on where the shard stands in the manifest

  std::vector<std::size_t> providers, consumers;  // same item; providers give "verdicts" and "features"
  std::size_t pictures = kNone;        // of the providers, one that only saves work: no part of the address
  std::vector<std::size_t> artifacts;  // "pair_counts", "model", "vocabulary": every item of the part
  std::vector<std::size_t> starts;     // train stages whose weights the model starts from, by path
  std::vector<std::size_t> waiters;    // parts for which this one is a barrier
  std::size_t barriers_left = 0;

  // Gangs and merges: what their inputs file lists, data set by data set.
  struct Listed {
    std::size_t table = kNone;
    std::vector<std::size_t> providers;
  };
  std::vector<Listed> listed;

  std::vector<std::uint8_t> states;
  std::vector<Record> records;
  std::int64_t done = 0, reused = 0;
  bool complete = false;
  std::map<std::string, std::int64_t> counts;

  jobs::Extent extent() const { return jobs::row_of(kind).extent; }
  // Tasks by number: merges and gangs, which read an inputs file.
  bool is_numbered() const { return extent() == jobs::Extent::kPart || extent() == jobs::Extent::kGang; }
  std::int64_t known() const { return static_cast<std::int64_t>(states.size()); }
  bool is_done(std::int64_t item) const {
    return item < known() && states[static_cast<std::size_t>(item)] == kDone;
  }
  void grow(std::int64_t to) {
    states.resize(static_cast<std::size_t>(to), kWaiting);
    records.resize(static_cast<std::size_t>(to));
  }
};

struct GraphState {
  jobs::JobSpec job;
  std::string job_id, output, store;
  std::map<std::string, std::uint64_t> weights, labels;
  std::map<std::string, std::vector<std::string>> decided;
  std::map<std::string, std::int64_t> classes;
  std::vector<std::string> notes;
  std::map<std::string, std::vector<std::string>> quarantined;
  std::vector<StageInfo> stages;
  std::vector<const jobs::StageSpec*> specs;  // per stage; nullptr for implicit ones
  std::vector<DataTable> tables;
  std::vector<std::vector<std::size_t>> synthesizers;  // per table and source: part, or kNone
  std::vector<std::size_t> inspectors;                 // per table: part
  std::vector<Part> parts;
  std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>, std::size_t>
      part_at;  // stage, phase, data
  struct HashOf {
    std::size_t operator()(const io::Hash128& h) const { return h.low; }
  };
  std::unordered_map<io::Hash128, std::vector<std::pair<std::size_t, std::int64_t>>, HashOf> twins;

  bool started = false;
  std::vector<TaskRef> first_ready;  // emptied by TaskGraph::start

  // graph_build.cpp
  void build(ListedJob listed);

  // graph_run.cpp
  const std::vector<TaskRef>& start();
  std::vector<TaskRef> complete(const TaskRef& ref, const jobs::TaskDone& done);
  bool is_final(const Part& part) const {
    return part.extent() != jobs::Extent::kRange || tables[part.table].all_known();
  }

  // graph_tasks.cpp
  std::size_t part_of(const TaskRef& ref) const;
  std::int64_t find_item(std::size_t part, const TaskRef& ref) const;  // -1: there is none
  std::int64_t item_of(std::size_t part, const TaskRef& ref) const;
  TaskRef ref_of(std::size_t part, std::int64_t item) const;
  io::Hash128 address(std::size_t part, std::int64_t item) const;
  jobs::Task task(std::size_t part, std::int64_t item) const;
  const std::vector<std::string>& quarantined_of(const DataTable& table, std::int64_t shard) const;
  std::string inputs_path(const Part& part) const;
  void write_inputs(std::size_t part) const;

  struct Builder;

 private:
  bool inputs_done(const Part& part, std::int64_t item) const;
  void offer(std::size_t part, std::int64_t item, std::vector<TaskRef>& ready);
  void scan(std::size_t part, std::vector<TaskRef>& ready);
  void shard_inspected(std::size_t part, std::int64_t shard, const jobs::TaskDone& done,
                       std::vector<TaskRef>& ready);
  void finish_part_if_complete(std::size_t part, std::vector<TaskRef>& ready);
  void judge(const Part& part) const;
  void check_export(const Part& part) const;
  void check_sum(const Part& part, std::int64_t item,
                 const std::map<std::string, std::int64_t>& counts) const;
  void add_file_lines(AddressText& text, const Part& part) const;
  void cover(const Part& part, std::int64_t item,
             jobs::Task& task) const;  // fills in what it is of, its inputs
  jobs::ModelSpec model_with_paths(const Part& part) const;
  jobs::InputFile input_file(const Part& from, std::int64_t item) const;
  std::vector<jobs::InputFile> artifact_files(const Part& part) const;
};

// "<store>/<kind name>/<2 hex>/<address>" (FORMAT.md), and with the extension the main output.
std::string output_base(const std::string& store, jobs::TaskKind kind, const io::Hash128& address);
std::string output_path(const std::string& store, jobs::TaskKind kind, const io::Hash128& address);

}  // namespace trireme::coordinator::planner

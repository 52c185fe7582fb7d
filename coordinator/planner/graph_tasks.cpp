// What the tasks of a graph are: names, addresses, inputs.
#include <charconv>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/machine/aside.h"
#include "coordinator/planner/graph_state.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::planner {

std::string output_base(const std::string& store, jobs::TaskKind kind, const io::Hash128& address) {
  const std::string hex = io::hex(address);
  return store + "/" + std::string(jobs::name_of(kind)) + "/" + hex.substr(0, 2) + "/" + hex;
}

std::string output_path(const std::string& store, jobs::TaskKind kind, const io::Hash128& address) {
  return output_base(store, kind, address) + std::string(jobs::row_of(kind).extension);
}

std::size_t GraphState::part_of(const TaskRef& ref) const {
  const auto found = part_at.find({ref.stage, ref.phase, ref.data});
  if (found == part_at.end()) throw Error(ErrorKind::kInternal, "there is no task " + key_of(ref));
  return found->second;
}

std::int64_t GraphState::find_item(std::size_t index, const TaskRef& ref) const {
  const Part& part = parts[index];
  std::int64_t item = 0;
  switch (part.extent()) {
    case jobs::Extent::kPiece:
      item = ref.shard - part.base;
      break;
    case jobs::Extent::kShard:
    case jobs::Extent::kWholeShard:
      item = ref.shard;
      break;
    case jobs::Extent::kRange:
      item = tables[part.table].range_at(ref.shard, ref.first);
      break;
    case jobs::Extent::kPart:
    case jobs::Extent::kGang:
      item = ref.first;
      break;
  }
  return item < part.known() && item >= 0 && ref_of(index, item) == ref ? item : -1;
}

std::int64_t GraphState::item_of(std::size_t index, const TaskRef& ref) const {
  const std::int64_t item = find_item(index, ref);
  if (item < 0) throw Error(ErrorKind::kInternal, "there is no task " + key_of(ref));
  return item;
}

TaskRef GraphState::ref_of(std::size_t index, std::int64_t item) const {
  const Part& part = parts[index];
  TaskRef ref{part.stage, part.phase, part.data, 0, 0};
  switch (part.extent()) {
    case jobs::Extent::kPiece:
      ref.shard = part.base + item;
      break;
    case jobs::Extent::kShard:
    case jobs::Extent::kWholeShard:
      ref.shard = item;
      break;
    case jobs::Extent::kRange: {
      const Range range = tables[part.table].range(item);
      ref.shard = range.shard;
      ref.first = range.first;
      break;
    }
    case jobs::Extent::kPart:
    case jobs::Extent::kGang:
      ref.first = item;
      break;
  }
  return ref;
}

// Data manifest and input addresses of a merge or gang.
void GraphState::add_file_lines(AddressText& text, const Part& part) const {
  for (const auto& listed : part.listed) {
    const DataTable& table = tables[listed.table];
    for (std::int64_t shard = 0; shard < table.size(); ++shard) {
      const jobs::ShardRef ref = table.shard_ref(shard);
      const double weight = table.spec().sources[static_cast<std::size_t>(ref.source)].weight;
      text.add("shard", table.content(shard) + " " + std::to_string(ref.samples) + " " +
                            std::to_string(ref.selected_first) + "+" + std::to_string(ref.selected_count) +
                            " " + std::to_string(weight));
      for (std::int64_t i = 0; i < table.ranges_of(shard); ++i)
        for (const std::size_t provider : listed.providers)
          text.add("input",
                   parts[provider].records[static_cast<std::size_t>(table.first_range(shard) + i)].address);
    }
  }
}

const std::vector<std::string>& GraphState::quarantined_of(const DataTable& table, std::int64_t shard) const {
  static const std::vector<std::string> kNobody;
  if (quarantined.empty()) return kNobody;
  const auto found = quarantined.find(table.shard_ref(shard).path);
  return found == quarantined.end() ? kNobody : found->second;
}

io::Hash128 GraphState::address(std::size_t index, std::int64_t item) const {
  const Part& part = parts[index];
  AddressText text;
  text.add("trireme", kAddressVersion);
  text.add("task", part.address_head);
  if (part.extent() == jobs::Extent::kPiece) {
    text.add("shard", item);
  } else if (part.extent() == jobs::Extent::kShard) {
    const DataTable& table = tables[part.table];
    const auto source = static_cast<std::size_t>(table.source(item));
    const std::size_t maker = synthesizers[part.table][source];
    text.add("source", address_part(table.spec().sources[source], table.shard_ref(item).format));
    if (maker == kNone) {
      text.add("file", io::hex(table.identity(item)));
      text.add("reading", kReadingVersion);
    } else {
      text.add("made", parts[maker].records[static_cast<std::size_t>(item - parts[maker].base)].address);
    }
    for (const auto& key : quarantined_of(table, item)) text.add("without", key);
  } else if (part.extent() == jobs::Extent::kWholeShard) {
    const DataTable& table = tables[part.table];
    const jobs::ShardRef shard = table.shard_ref(item);
    text.add("shard", table.content(item) + " " + std::to_string(shard.selected_first) + "+" +
                          std::to_string(shard.selected_count));
    text.add("source",
             address_part(table.spec().sources[static_cast<std::size_t>(shard.source)], shard.format));
    for (std::int64_t i = 0; i < table.ranges_of(item); ++i)
      for (const std::size_t provider : part.providers)
        text.add("input",
                 parts[provider].records[static_cast<std::size_t>(table.first_range(item) + i)].address);
  } else if (part.extent() == jobs::Extent::kRange) {
    const DataTable& table = tables[part.table];
    const Range range = table.range(item);
    if (part.place_matters) text.add("place", table.name() + "/" + std::to_string(range.shard));
    const jobs::ShardRef shard = table.shard_ref(range.shard);
    text.add("shard", table.content(range.shard));
    text.add("source",
             address_part(table.spec().sources[static_cast<std::size_t>(shard.source)], shard.format));
    text.add("range", std::to_string(range.first) + "+" + std::to_string(range.count));
    for (const std::size_t provider : part.providers)
      if (provider != part.pictures)
        text.add("input", parts[provider].records[static_cast<std::size_t>(item)].address);
  } else {
    text.add("item", item);
    add_file_lines(text, part);
  }
  for (const std::size_t artifact : part.artifacts)
    for (const auto& record : parts[artifact].records) text.add("artifact", record.address);
  for (const std::size_t start : part.starts)
    for (const auto& record : parts[start].records) text.add("start", record.address);
  return text.finish();
}

jobs::InputFile GraphState::input_file(const Part& from, std::int64_t item) const {
  const Part::Record& record = from.records[static_cast<std::size_t>(item)];
  jobs::InputFile file;
  file.role = jobs::row_of(from.kind).made;
  file.stage = stages[from.stage].name;
  if (from.table != kNone) file.data = tables[from.table].name();
  if (from.extent() == jobs::Extent::kShard) file.shard = item;
  if (from.extent() == jobs::Extent::kRange) {
    const Range range = tables[from.table].range(item);
    file.shard = range.shard;
    file.first = range.first;
  }
  file.path = output_path(store, from.kind, record.address);
  file.xxh3 = record.xxh3;
  return file;
}

std::vector<jobs::InputFile> GraphState::artifact_files(const Part& part) const {
  std::vector<jobs::InputFile> files;
  for (const std::size_t artifact : part.artifacts)
    for (std::int64_t item = 0; item < parts[artifact].known(); ++item)
      files.push_back(input_file(parts[artifact], item));
  return files;
}

std::string GraphState::inputs_path(const Part& part) const {
  return (store::RunPaths{output}.stage(stages[part.stage].name) / "inputs.jsonl").string();
}

void GraphState::write_inputs(std::size_t index) const {
  const Part& part = parts[index];
  const io::Path path = inputs_path(part);
  const io::Aside aside(path);
  io::make_folders(path.parent_path());
  io::FileWriter writer(aside.path());
  const auto line = [&](const jobs::InputsLine& one) { writer.write(jobs::to_json(one) + "\n"); };
  for (const auto& listed : part.listed) {
    const DataTable& table = tables[listed.table];
    for (std::int64_t shard = 0; shard < table.size(); ++shard) {
      line({table.shard_ref(shard), {}});
      line({{}, input_file(parts[inspectors[listed.table]], shard)});
      for (const std::size_t provider : listed.providers)
        for (std::int64_t i = 0; i < table.ranges_of(shard); ++i)
          line({{}, input_file(parts[provider], table.first_range(shard) + i)});
    }
  }
  for (const auto& file : artifact_files(part)) line({{}, file});
  writer.finish();
  io::rename_durably(aside.path(), path);  // over what an earlier start wrote for this stage
}

void GraphState::cover(const Part& part, std::int64_t item, jobs::Task& task) const {
  switch (part.extent()) {
    case jobs::Extent::kPiece:
      task.part = item;
      task.parts = part.known();
      break;
    case jobs::Extent::kShard:
      task.shard = tables[part.table].shard_ref(item);
      if (const auto& keys = quarantined_of(tables[part.table], item); !keys.empty())
        task.settings = nlohmann::json{{"quarantined", keys}}.dump();
      break;
    case jobs::Extent::kWholeShard: {
      const DataTable& table = tables[part.table];
      task.shard = table.shard_ref(item);
      task.count = task.shard->samples;
      task.inputs.push_back(input_file(parts[inspectors[part.table]], item));
      for (std::int64_t i = 0; i < table.ranges_of(item); ++i)
        for (const std::size_t provider : part.providers)
          task.inputs.push_back(input_file(parts[provider], table.first_range(item) + i));
      break;
    }
    case jobs::Extent::kRange: {
      const Range range = tables[part.table].range(item);
      task.shard = tables[part.table].shard_ref(range.shard);
      task.first = range.first;
      task.count = range.count;
      task.inputs.push_back(input_file(parts[inspectors[part.table]], range.shard));
      for (const std::size_t provider : part.providers)
        task.inputs.push_back(input_file(parts[provider], item));
      for (auto& file : artifact_files(part)) task.inputs.push_back(std::move(file));
      break;
    }
    case jobs::Extent::kPart:
    case jobs::Extent::kGang:
      task.part = item;
      task.parts = part.known();
      task.inputs_file = inputs_path(part);
      break;
  }
}

// What stages make for a model is known by its path by now.
jobs::ModelSpec GraphState::model_with_paths(const Part& part) const {
  jobs::ModelSpec model = job.spec.models.at(part.model_name);
  if (part.vocabulary != kNone) model.text.tokenizer.vocabulary = input_file(parts[part.vocabulary], 0).path;
  for (const std::size_t start : part.starts) {
    const std::string named = "stage:" + stages[parts[start].stage].name;
    const std::string path = input_file(parts[start], 0).path;
    if (model.blend && model.blend->with == named) model.blend->with = path;
    if (model.init_from == named) model.init_from = path;
  }
  return model;
}

jobs::Task GraphState::task(std::size_t index, std::int64_t item) const {
  const Part& part = parts[index];
  const io::Hash128 place =
      part.states[static_cast<std::size_t>(item)] == Part::kWaiting
          ? throw Error(ErrorKind::kInternal, "task " + key_of(ref_of(index, item)) + " waits for its inputs")
          : part.records[static_cast<std::size_t>(item)].address;
  jobs::Task task;
  task.job = job_id;
  task.stage = stages[part.stage].name;
  task.kind = part.kind;
  task.settings = part.settings;
  task.data = part.data_json;
  task.model = part.model_json;
  if (part.vocabulary != kNone || !part.starts.empty()) task.model = jobs::model_json(model_with_paths(part));
  task.evaluate_data = part.evaluate_data_json;
  task.address = io::hex(place);
  task.output = output_base(store, part.kind, place);
  task.device = job.spec.device;
  cover(part, item, task);
  if (part.kind == jobs::TaskKind::kTrain) {
    task.stage_folder = store::RunPaths{output}.stage(task.stage).string();
    task.checkpoint_folder = (store::RunPaths{output}.checkpoints() / task.stage).string();
    task.checkpoint_every_steps = job.spec.checkpoint.every_steps;
    task.checkpoint_every_seconds = job.spec.checkpoint.every_seconds;
    task.checkpoint_fail_after_seconds = job.spec.checkpoint.fail_after_seconds;
  }
  return task;
}

}  // namespace trireme::coordinator::planner

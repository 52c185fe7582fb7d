// Addresses stay: what a store holds is found again by later versions. tests/golden/adopted/addresses.txt was
// written by version 8b5d5c5; a line is the hash of keys and addresses of all tasks of one stage. A field
// that is added to settings, model or data set must not change them while it has its default
// (FieldRules::added, quiet). The stages of every_kind.json behind its model `given` are this version's: what
// a checkpoint of init_from says of its texts is adopted now, so their results are others.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <filesystem>
#include <map>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "tests/coordinator/planner/fake_results.h"

namespace trireme::coordinator::planner {
namespace {
namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kRoot = TRIREME_SOURCE_DIR;
const fs::path kGolden = kRoot / "tests/golden/adopted/addresses.txt";

// Every path and published name in the job is a file that exists, whatever it is named as.
void list_files(const json& value, ListedJob& listed) {
  if (value.is_structured())
    for (const auto& child : value) list_files(child, listed);
  if (!value.is_string()) return;
  const auto& text = value.get_ref<const std::string&>();
  if (text.find('/') == std::string::npos && !text.starts_with("pretrained:")) return;
  for (const char* what : {"init_from", "weights", "vocabulary", "teacher", "concepts", "captions", "list"})
    listed.weights[std::string(what) + " " + text] = io::xxh3_64(text);
}

ListedJob listing_of(const jobs::JobSpec& job) {
  ListedJob listed;
  list_files(json::parse(jobs::effective_json(job)), listed);
  for (const auto& [name, data] : job.spec.data) {
    listed.labels[name] = io::xxh3_64(name);
    for (std::size_t i = 0; i < data.sources.size(); ++i) {
      if (data.sources[i].synthetic) continue;
      for (auto shard : fake_shards(name, 2)) {
        shard.source = static_cast<std::int64_t>(i);
        shard.path += "." + std::to_string(i);
        if (data.sources[i].format != jobs::DataFormat::kAuto) shard.format = data.sources[i].format;
        listed.shards[name].push_back(shard);
      }
    }
  }
  for (const auto& stage : job.spec.stages)
    for (const auto& [name, data] : job.spec.data)
      listed.weights["scores " + stage.name + "/" + name] = io::xxh3_64(stage.name);
  return listed;
}

std::string lines_of(const fs::path& file) {
  const auto read = jobs::read_job(io::read_file(file));
  for (const auto& fault : read.faults) ADD_FAILURE() << file << fault.pointer << " " << fault.detail;
  TaskGraph graph(read.job, listing_of(read.job), "job");
  std::map<std::string, std::map<TaskRef, std::string>> stages;
  const auto first = graph.start();
  std::deque<TaskRef> ready(first.begin(), first.end());
  while (!ready.empty()) {
    const TaskRef ref = ready.front();
    ready.pop_front();
    const jobs::Task task = graph.describe_task(ref);
    stages[task.stage][ref] = key_of(ref) + " " + task.address + "\n";
    jobs::TaskDone done = fake_result(task);
    done.outputs.front().path = task.output;
    for (const auto& next : graph.complete(ref, done)) ready.push_back(next);
  }
  EXPECT_TRUE(graph.finished()) << file;
  std::string lines;
  for (const auto& [stage, tasks] : stages) {
    if (stage.starts_with("inspect:")) continue;  // looked at anew where a version sees more in a file
    std::string text;
    for (const auto& [ref, task] : tasks) text += task;
    lines += file.stem().string() + " " + stage + " " + std::to_string(tasks.size()) + " " +
             io::hex(io::xxh3_128(text)) + "\n";
  }
  return lines;
}

TEST(Addresses, AreThoseOfTheVersionsBefore) {
  std::vector<fs::path> files{kRoot / "tests/golden/adopted/every_kind.json"};
  for (const char* name :
       {"align", "alip", "cifar10", "curate", "diht", "flickr", "kept", "probes", "tiny", "voyage"})
    files.push_back(kRoot / "tests/golden/adopted" / (std::string(name) + ".json"));
  std::string lines;
  for (const auto& file : files) lines += lines_of(file);
  if (std::getenv("TRIREME_WRITE_ADDRESSES") != nullptr) io::write_file_atomic(kGolden, lines);
  EXPECT_EQ(lines, io::read_file(kGolden))
      << "a store of before would not be found again; is a new field not marked as added?";
}

}  // namespace
}  // namespace trireme::coordinator::planner

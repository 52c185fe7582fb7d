#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include <fstream>
#include <sstream>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {
namespace {
using nlohmann::json;
namespace fs = std::filesystem;

const fs::path kRoot = TRIREME_SOURCE_DIR;

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// The faults that valijson finds, one per line; "" when the document fits.
std::string judge(const json& schema_json, const json& document) {
  valijson::Schema schema;
  valijson::SchemaParser parser;
  const valijson::adapters::NlohmannJsonAdapter schema_adapter(schema_json), target(document);
  parser.populateSchema(schema_adapter, schema);
  valijson::Validator validator;
  valijson::ValidationResults results;
  if (validator.validate(schema, target, &results)) return "";
  std::string text;
  for (valijson::ValidationResults::Error error; results.popError(error);) text += error.description + "\n";
  return text.empty() ? "does not fit" : text;
}

std::vector<fs::path> examples() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(kRoot / "jobs/examples"))
    if (entry.path().extension() == ".json" && !entry.path().filename().string().starts_with("sweep-"))
      found.push_back(entry.path());
  return found;
}

TEST(Schema, TheFileIsWhatTheProgramWrites) {
  const fs::path file = kRoot / "jobs/schema/job.schema.json";
  if (std::getenv("TRIREME_WRITE_SCHEMA") != nullptr) std::ofstream(file) << job_schema();
  EXPECT_EQ(text_of(file), job_schema()) << "write it anew: trireme schema > jobs/schema/job.schema.json";
}

TEST(Schema, ExamplesAndTheirEffectiveSpecsFitIt) {
  const json schema = json::parse(job_schema());
  ASSERT_GE(examples().size(), 4U);
  for (const auto& path : examples()) {
    const ReadResult result = read_job(text_of(path));
    for (const auto& fault : result.faults)
      ADD_FAILURE() << path << fault.pointer << ": " << fault.detail << " " << fault.hint;
    EXPECT_EQ(judge(schema, json::parse(text_of(path))), "") << path;
    EXPECT_EQ(judge(schema, json::parse(effective_json(result.job))), "") << path;
  }
}

TEST(Schema, RefusesWhatTheReaderRefuses) {
  const json schema = json::parse(job_schema());
  const json good = json::parse(text_of(kRoot / "jobs/examples/flickr.json"));
  const std::pair<const char*, json> changes[] = {{"/spec/bogus", 1},
                                                  {"/spec/task_samples", 0},
                                                  {"/spec/task_samples", "x"},
                                                  {"/spec/stages/2/kind", "tarin"},
                                                  {"/spec/stages/2/epocs", 3},
                                                  {"/spec/stages/0/aspect_below", "wide"},
                                                  {"/spec/models/lite/image/kind", "resnet"},
                                                  {"/spec/data/train", json::object()},
                                                  {"/kind", "Job"}};
  for (const auto& [pointer, value] : changes) {
    json bad = good;
    bad[json::json_pointer(pointer)] = value;
    EXPECT_NE(judge(schema, bad), "") << pointer;
    EXPECT_FALSE(read_job(bad.dump()).ok()) << pointer;
  }
}

// One place of each numeric field: the same of another stage or model of its kind is left out by `seen`.
void numbers_of(const json& value, const json::json_pointer& at, const std::string& kind,
                std::set<std::string>& seen, std::vector<json::json_pointer>& found) {
  if (value.is_number() && seen.insert(kind).second) found.push_back(at);
  if (!value.is_structured()) return;
  const std::string own =
      value.is_object() && value.contains("kind") ? value.at("kind").get<std::string>() : kind;
  for (const auto& [key, child] : value.items()) {
    if (value.is_array())
      numbers_of(child, at / std::stoul(key), own, seen, found);
    else
      numbers_of(child, at / key, own + "/" + key, seen, found);
  }
}

// Checks read what the fields hold, and divide by some of them: "heads": 0 once ended the program.
TEST(Examples, EveryFieldTakesOrRefusesAnyNumber) {
  const json values = {0, -1, 1, 0.5, 1e18, -1e18, 1e300, -1e300, 9007199254740992, -9007199254740992};
  std::set<std::string> seen;
  for (const auto& path : examples()) {
    const json whole = json::parse(effective_json(read_job(text_of(path)).job));
    std::vector<json::json_pointer> fields;
    numbers_of(whole, json::json_pointer(), "", seen, fields);
    for (const auto& field : fields)
      for (const json& value : values) {
        json changed = whole;
        changed[field] = value;
        const ReadResult read = read_job(changed.dump());
        if (!read.ok()) continue;
        const std::string text = effective_json(read.job);
        EXPECT_EQ(effective_json(read_job(text).job), text) << path << field << value;
      }
  }
  EXPECT_GT(seen.size(), 150U);
}

TEST(Examples, DataCanBePointedElsewhere) {
  for (const auto& path : examples()) {
    const ReadResult result = read_job(text_of(path), {"spec.data.train=/a", "spec.data.test=/b"});
    ASSERT_TRUE(result.ok()) << path;
    EXPECT_EQ(result.job.spec.data.at("train").sources.at(0).path, "/a");
    EXPECT_EQ(result.job.spec.data.at("test").sources.at(0).path, "/b");
    EXPECT_TRUE(result.job.labels.contains("data")) << path;
  }
}

TEST(Examples, TinyHas192StepsOf64) {
  const JobSpec job = read_job(text_of(kRoot / "jobs/examples/tiny.json")).job;
  const auto& synthetic = *job.spec.data.at("train").sources.at(0).synthetic;
  const auto& train = std::get<TrainSettings>(job.spec.stages.at(0).settings);
  EXPECT_EQ(synthetic.shards, 64);
  EXPECT_EQ(synthetic.samples * train.epochs / train.global_batch, 192);
}

}  // namespace
}  // namespace trireme::jobs

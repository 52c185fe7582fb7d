#include "coordinator/planner/listing.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "common/base/error.h"
#include "common/io/file.h"
#include "tests/support/tar_writer.h"

namespace trireme::coordinator::planner {
namespace {
namespace fs = std::filesystem;

class Listing : public ::testing::Test {
 protected:
  Listing() { fs::create_directories(root_); }
  ~Listing() override { fs::remove_all(root_); }

  void put(const std::string& name, const std::string& bytes = "x") {
    io::write_file_atomic(root_ / name, bytes, false);
  }
  std::string at(const std::string& name) const { return (root_ / name).string(); }

  static bool has(const std::string& text, const std::string& words) {
    return text.find(words) != std::string::npos;
  }

  fs::path root_ = fs::temp_directory_path() / ("trireme-listing-" + std::to_string(::getpid()));
};

std::string web_tar() {
  return testing::TarWriter().add("1.jpg", "j").add("1.json", "{}").add("1.txt", "one\ntwo").bytes();
}

TEST_F(Listing, AJobsFaultsCarryPointersAndTheWayOut) {
  put("good/0.tar", web_tar());
  put("hollow/0.tar", "");
  put("file");
  const auto job = jobs::read_job(R"({"name": "l", "spec": {"output": ")" + at("file") +
                                  R"(", "data": {"train": ")" + at("nowhere") + R"(",
      "two": {"sources": [{"path": ")" +
                                  at("good") + R"("}, {"path": ")" + at("hollow") + R"("}]}},
      "models": {"m": {"image": {}, "text": {"tokenizer": {"kind": "clip_bpe", "vocabulary": "pretrained:clop"}}}},
      "stages": [{"name": "f", "kind": "filter", "data": ["train"]}]}})");
  for (const auto& f : job.faults) ADD_FAILURE() << f.pointer << f.detail;
  std::vector<jobs::SpecFault> faults;
  const ListedJob listed = list_job(job.job, faults);
  ASSERT_EQ(faults.size(), 4U);
  EXPECT_EQ(faults[0].pointer, "/spec/output");
  EXPECT_EQ(faults[1].pointer, "/spec/data/train/sources/0/path");
  EXPECT_TRUE(has(faults[1].hint, "--set spec.data.train=PATH"));
  EXPECT_EQ(faults[2].pointer, "/spec/data/two/sources/1/path");
  EXPECT_TRUE(has(faults[2].detail, "is empty"));
  EXPECT_TRUE(has(faults[3].detail, "pretrained:clip"));
  EXPECT_EQ(listed.shards.at("two").size(), 1U);
  EXPECT_THROW(list_job(job.job), Error);
}

TEST_F(Listing, IdentityFollowsTheFile) {
  put("d/0.tar", web_tar());
  put("d/classnames.txt", "cat\ndog\n");
  const auto job =
      jobs::read_job(R"({"name": "l", "spec": {"output": ")" + at("out") + R"(", "data": {"d": ")" + at("d") +
                     R"("}, "stages": [{"name": "f", "kind": "filter", "data": ["d"]}]}})");
  const ListedJob before = list_job(job.job);
  EXPECT_EQ(list_job(job.job).identities, before.identities);
  EXPECT_EQ(before.shards.at("d")[0].format, jobs::DataFormat::kClipBenchmark);
  put("d/0.tar", web_tar() + std::string(512, '\0'));
  put("d/classnames.txt", "cat\ncow\n");
  const ListedJob after = list_job(job.job);
  EXPECT_NE(after.identities, before.identities);
  EXPECT_NE(after.labels, before.labels);
}

// Lists whose position is their meaning are read when the job is listed, and what they hold is said.
TEST_F(Listing, ClassFilesAreCheckedBeforeAnythingRuns) {
  const auto listed = [&](const std::string& extra) {
    const auto job = jobs::read_job(R"({"name": "l", "spec": {"output": ")" + at("out") +
                                    R"(", "data": {"d": {"path": ")" + at("d") + "\"" + extra +
                                    R"(}}, "stages": [{"name": "f", "kind": "filter", "data": ["d"]}]}})");
    std::vector<jobs::SpecFault> faults;
    ListedJob out = list_job(job.job, faults);
    for (const auto& fault : faults) out.notes.push_back(fault.pointer + ": " + fault.detail);
    return out;
  };
  put("d/0.tar", testing::TarWriter().add("s0.webp", "j").add("s0.cls", "3").bytes());
  put("d/classnames.txt",
      "\xEF\xBB\xBF"
      "crane\r\ndog\r\ncrane\r\n\r\n");
  ListedJob found = listed("");
  EXPECT_EQ(found.classes.at("d"), 3);
  ASSERT_EQ(found.notes.size(), 1U);
  EXPECT_TRUE(has(found.notes[0], "\"crane\" stands in lines 1 and 3"));
  put("d/classnames.txt", "crane\n\ndog\n");
  EXPECT_TRUE(has(listed("").notes.at(0), "classnames.txt:2: the line is empty"));
  put("d/classnames.txt", "[\"crane\", \"dog\"]");
  EXPECT_TRUE(has(listed("").notes.at(0), "is a JSON list"));
  put("d/classnames.txt", "0 crane\n1 dog\n");
  EXPECT_TRUE(has(listed("").notes.at(0), "begins with its number"));
  put("d/classnames.txt", "crane\ndog\n");
  put("d/zeroshot_classification_templates.txt", "a photo.\n");
  EXPECT_TRUE(has(listed("").notes.at(0), "templates.txt:1: the prompt has no place"));
}

TEST_F(Listing, TrainingOnPhotographsAloneSaysWhatItLacks) {
  put("p/a.jpg");
  put("p/b.jpg");
  const auto read =
      jobs::read_job(R"({"name": "l", "spec": {"output": ")" + at("out") + R"(", "data": {"d": ")" + at("p") +
                     R"("}, "models": {"m": {}}, "stages": [{"name": "t", "kind": "train", "data": "d",
      "model": "m", "steps": 1}]}})");
  std::vector<jobs::SpecFault> faults;
  const ListedJob listed = list_job(read.job, faults);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(faults[0].pointer, "/spec/stages/0/data");
  EXPECT_TRUE(has(faults[0].detail, "without captions"));
  EXPECT_EQ(listed.data.at("d").sources[0].captions, jobs::CaptionForm::kNone);
}

// A teacher and its vocabulary as far as files tell: classes, k, lists.
TEST_F(Listing, TeachersAndVocabulariesThatDoNotFit) {
  const std::string header = R"({"_fc.bias":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})";
  std::string weights(8, '\0');
  weights[0] = static_cast<char>(header.size());
  put("w.safetensors", weights + header + std::string(12, '\0'));
  const auto vocabulary = [](const std::string& lists) {
    return R"({"format":"trireme-concepts","version":1,"vocabularies":)" + lists + "}";
  };
  put("v3.json", vocabulary(R"({"objects":["a","b","c"]})"));
  put("v4.json", vocabulary(R"({"objects":["a","b","c","d"]})"));
  put("v1.json", vocabulary(R"({"objects":["a"]})"));
  put("two.json", vocabulary(R"({"objects":["a","b","c"],"attributes":["d","e"]})"));
  put("d.tar", web_tar());
  const auto faults = [&](const std::vector<std::string>& overrides) {
    std::vector<std::string> sets = {"spec.output=" + at("run"), "spec.data.train=" + at("d.tar"),
                                     "spec.stages.labels.teacher=" + at("w.safetensors"),
                                     "spec.stages.labels.vocabulary=" + at("v3.json")};
    sets.insert(sets.end(), overrides.begin(), overrides.end());
    const auto read = jobs::read_job(
        R"({"name": "l", "spec": {"output": "/o", "data": {"train": "/d"}, "stages": [
            {"name": "labels", "kind": "concepts", "data": ["train"], "top_k": 2}]}})",
        sets);
    for (const auto& fault : read.faults) ADD_FAILURE() << fault.pointer << " " << fault.detail;
    std::vector<jobs::SpecFault> found;
    list_job(read.job, found);
    std::string text;
    for (const auto& fault : found) text += fault.pointer + ": " + fault.detail + "\n";
    return text;
  };
  EXPECT_EQ(faults({}), "");
  const std::string vocabulary_at = "/spec/stages/0/vocabulary: ";
  EXPECT_TRUE(has(faults({"spec.stages.labels.vocabulary=" + at("v4.json")}),
                  vocabulary_at + "the teacher has 3 classes, the vocabulary 4 concepts"));
  EXPECT_TRUE(has(faults({"spec.stages.labels.vocabulary=" + at("two.json")}), "the vocabulary 2 lists"));
  EXPECT_TRUE(has(faults({"spec.stages.labels.vocabulary=" + at("v1.json")}), "needs two"));
  EXPECT_TRUE(has(faults({"spec.stages.labels.vocabulary=" + at("none.json")}), "there is no file"));
  EXPECT_TRUE(
      has(faults({"spec.stages.labels.top_k=4"}), vocabulary_at + "top_k 4 is beyond the vocabulary"));
  EXPECT_TRUE(has(faults({"spec.stages.labels.vocabulary=imagenet"}), "the teacher has 3 classes"));
  EXPECT_TRUE(
      has(faults({"spec.stages.labels.teacher=" + at("nobody.safetensors")}), "/spec/stages/0/teacher"));
  EXPECT_TRUE(has(faults({"spec.stages.labels.teacher=" + at("")}), "there is no model folder"));
}

TEST_F(Listing, CaptionsToScore) {
  put("d.tar", web_tar());
  fs::create_directories(root_ / "empty");
  put("some/a.captions.jsonl");
  const auto listed = [&](const std::string& captions) {
    const auto read =
        jobs::read_job(R"({"name": "l", "spec": {"output": "/o", "data": {"train": "/d"}, "stages": [
            {"name": "score", "kind": "evaluate", "data": "train", "task": "captions", "captions": "x"}]}})",
                       {"spec.output=" + at("run"), "spec.data.train=" + at("d.tar"),
                        "spec.stages.score.captions=" + captions});
    std::vector<jobs::SpecFault> found;
    list_job(read.job, found);
    return found.empty() ? std::string() : found[0].pointer + ": " + found[0].detail;
  };
  EXPECT_EQ(listed(at("some")), "");
  EXPECT_EQ(listed(at("some/a.captions.jsonl")), "");
  EXPECT_TRUE(has(listed(at("empty")), "/spec/stages/0/captions: "));
  EXPECT_TRUE(has(listed(at("nowhere")), "there is no file or folder"));
}

}  // namespace
}  // namespace trireme::coordinator::planner

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

  // What goes wrong, "" when nothing does.
  std::string fault(const std::string& name, const std::string& format = "auto") {
    try {
      expand_path(at(name), format);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  static bool has(const std::string& text, const std::string& words) {
    return text.find(words) != std::string::npos;
  }

  fs::path root_ = fs::temp_directory_path() / ("trireme-listing-" + std::to_string(::getpid()));
};

std::string web_tar() {
  return testing::TarWriter().add("1.jpg", "j").add("1.json", "{}").add("1.txt", "one\ntwo").bytes();
}

TEST_F(Listing, FoldersOfTarsInNaturalOrder) {
  for (const char* name : {"a/10.tar", "a/9.tar", "a/00001.tar", "a/100.tar"}) put(name, web_tar());
  put("a/00001_stats.json");
  const ListedShards found = expand_path(at("a"), "auto");
  EXPECT_EQ(found.format, "webdataset");
  EXPECT_EQ(found.paths,
            (std::vector<std::string>{at("a/00001.tar"), at("a/9.tar"), at("a/10.tar"), at("a/100.tar")}));
  EXPECT_EQ(expand_path(at("a/9.tar"), "auto").paths.size(), 1U);
  EXPECT_EQ(expand_path(at("a"), "clip_benchmark").format, "clip_benchmark");
}

TEST_F(Listing, ClipBenchmarkLayouts) {
  put("c/test/nshards.txt", "2\n");
  put("c/test/0.tar");
  EXPECT_TRUE(has(fault("c"), "1.tar is missing"));
  put("c/test/1.tar");
  EXPECT_EQ(expand_path(at("c"), "auto").paths,
            (std::vector<std::string>{at("c/test/0.tar"), at("c/test/1.tar")}));
  EXPECT_EQ(expand_path(at("c"), "auto").format, "clip_benchmark");
  EXPECT_EQ(expand_path(at("c/test/0.tar"), "auto").format, "clip_benchmark");
  put("c/train/nshards.txt", "1");
  put("c/train/0.tar");
  EXPECT_TRUE(has(fault("c"), at("c/train")));
  put("c/train/nshards.txt", "many");
  EXPECT_TRUE(has(fault("c/train"), "number of shards"));
}

TEST_F(Listing, TheFirstMembersTellTheLayout) {
  put("w.tar", web_tar());
  put("labels.tar", testing::TarWriter().add("s0.webp", "j").add("s0.cls", "3").bytes());
  put("texts.tar", testing::TarWriter().add("s0.jpg", "j").add("s0.txt", "one\ntwo\n").bytes());
  put("one.tar", testing::TarWriter().add("s0.jpg", "j").add("s0.txt", "one\n").bytes());
  put("noise.tar", std::string(5000, 'z'));
  EXPECT_EQ(expand_path(at("w.tar"), "auto").format, "webdataset");
  EXPECT_EQ(expand_path(at("labels.tar"), "auto").format, "clip_benchmark");
  EXPECT_EQ(expand_path(at("texts.tar"), "auto").format, "clip_benchmark");
  EXPECT_EQ(expand_path(at("one.tar"), "auto").format, "webdataset");
  EXPECT_EQ(expand_path(at("noise.tar"), "auto").format, "webdataset");
}

TEST_F(Listing, TablesAndWrongThings) {
  put("t.tsv");
  put("t.parquet");
  fs::create_directories(root_ / "empty");
  EXPECT_EQ(expand_path(at("t.tsv"), "auto").format, "table");
  EXPECT_TRUE(has(fault("t.parquet"), "neither"));
  EXPECT_TRUE(has(fault("empty"), "no .tar"));
  EXPECT_TRUE(has(fault("empty", "table"), "a folder"));
  EXPECT_TRUE(has(fault("nowhere"), "no file or folder"));
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
  EXPECT_EQ(before.shards.at("d")[0].format, "clip_benchmark");
  put("d/0.tar", web_tar() + std::string(512, '\0'));
  put("d/classnames.txt", "cat\ncow\n");
  const ListedJob after = list_job(job.job);
  EXPECT_NE(after.identities, before.identities);
  EXPECT_NE(after.labels, before.labels);
}

TEST(Natural, Order) {
  EXPECT_TRUE(natural_less("2.tar", "10.tar"));
  EXPECT_TRUE(natural_less("a2b", "a10a"));
  EXPECT_TRUE(natural_less("00002.tar", "10.tar"));
  EXPECT_FALSE(natural_less("x", "x"));
  EXPECT_NE(natural_less("1.tar", "01.tar"), natural_less("01.tar", "1.tar"));
  EXPECT_TRUE(natural_less("a", "ab"));
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

#include "coordinator/cli/evaluate/suite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "coordinator/cli/evaluate/score_table.h"
#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::cli {
namespace {

namespace fs = std::filesystem;

class EvaluateCommand : public ::testing::Test {
 protected:
  EvaluateCommand() : root_(fs::temp_directory_path() / ("trireme_suite_" + std::to_string(::getpid()))) {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~EvaluateCommand() override { fs::remove_all(root_); }
  void write(const fs::path& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  fs::path root_;
};

const char* const kModel =
    R"({"image": {"kind": "vit", "image_px": 32, "patch_px": 8, "width": 32, "layers": 1, "heads": 2},
  "text": {"kind": "transformer", "width": 32, "layers": 1, "heads": 2, "context": 8}, "embed_dim": 16})";

TEST_F(EvaluateCommand, EverySuiteMakesAJobThatIsWellFormed) {
  int suites = 0;
  for (const auto& file : io::list_folder(io::Path(TRIREME_SOURCE_DIR) / "jobs" / "suites")) {
    const Suite suite = read_suite(file.string());
    EXPECT_EQ(suite.name, file.stem());
    std::size_t folders = 0;
    const auto root = root_ / suite.name;
    for (const auto& task : suite.tasks)
      if (task.no_task.empty()) {
        for (const char* split : {"test", "train", "val", "dev"})
          fs::create_directories(root / task.folders.front() / split);
        for (const char* key : {"ratings", "answers"})
          if (task.settings.contains(key))
            for (const auto& name : task.settings[key].is_array()
                                        ? task.settings[key]
                                        : nlohmann::ordered_json::array({task.settings[key]}))
              io::write_file_atomic(root / task.folders.front() / name.get<std::string>(), "", false);
        ++folders;
      }
    const auto job =
        evaluate_job(nlohmann::ordered_json::parse(kModel), find_sets(suite, root), (root_ / "out").string());
    EXPECT_EQ(job.stages.size(), folders);
    EXPECT_EQ(job.absent.size(), suite.tasks.size() - folders);
    const auto read = jobs::read_job(job.job.dump());
    for (const auto& fault : read.faults)
      ADD_FAILURE() << suite.name << fault.pointer << ": " << fault.detail;
    ++suites;
  }
  EXPECT_EQ(suites, 9);
}

TEST_F(EvaluateCommand, SlicesOfVtabAreThoseOfItsAuthors) {
  const Suite suite = read_suite("vtab1k");
  std::set<std::string> unions;
  for (const auto& task : suite.tasks) {
    EXPECT_EQ(task.settings.value("train_select", ""), "0:800") << task.set;
    const std::string select = task.settings.value("validation_select", "");
    const auto colon = select.find(':');
    ASSERT_NE(colon, std::string::npos) << task.set;
    EXPECT_EQ(std::stol(select.substr(colon + 1)) - std::stol(select), 200) << task.set;  // 1,000 in all
    unions.insert(task.settings.value("validation_split", ""));
  }
  EXPECT_EQ(unions, (std::set<std::string>{"train", "val", "test"}));
  const auto of = [&](const char* set) {
    return std::ranges::find(suite.tasks, set, &SuiteTask::set)->settings.value("validation_select", "");
  };
  EXPECT_EQ(of("cifar100"), "45000:45200");  // behind 90 % of 50,000
  EXPECT_EQ(of("pets"), "2944:3144");        // behind 80 % of 3,680
  EXPECT_EQ(of("eurosat"), "16200:16400");   // behind 60 % of 27,000
  EXPECT_EQ(of("dtd"), "0:200");
}

TEST_F(EvaluateCommand, ASplitOrFileThatIsNotThereMakesASetAbsent) {
  const Suite suite = parse_suite(
      R"({"format": "trireme-suite/1", "name": "s", "source": "here", "confidence": "sure", "tasks": [
    {"set": "one", "task": "linear_probe", "metric": "acc1", "settings": {"train_split": "train", "validation_split": "val"}},
    {"set": "two", "task": "ratings", "metric": "spearman", "settings": {"ratings": ["sis_test.csv"]}},
    {"set": "words", "task": "word_similarity", "metric": "spearman", "folders": ["SimLex-999.txt"]},
    {"set": "four", "task": "zero_shot", "metric": "acc1"}]})",
      "s.json");
  for (const char* folder : {"wds_one/test", "wds_one/train", "wds_two/test", "wds_four/test"})
    fs::create_directories(root_ / folder);
  io::write_file_atomic(root_ / "SimLex-999.txt", "", false);
  const auto job =
      evaluate_job(nlohmann::ordered_json::parse(kModel), find_sets(suite, root_), (root_ / "out").string());
  EXPECT_EQ(job.absent, (std::vector<std::string>{"one (there is no split val beside it)",
                                                  "two (there is no sis_test.csv beside it)"}));
  ASSERT_EQ(job.stages.size(), 2);  // a job has one data set or more
  EXPECT_FALSE(job.job["spec"]["stages"][0].contains("data"));
  EXPECT_TRUE(jobs::read_job(job.job.dump()).faults.empty());
}

TEST_F(EvaluateCommand, WordsAloneAreAJobWithoutData) {
  const std::string file = (root_ / "SimLex-999.txt").string();
  io::write_file_atomic(file, "word1\tword2\tPOS\tSimLex999\n", false);
  const auto sets = sets_of({file}, "auto");
  ASSERT_EQ(sets.size(), 1);
  EXPECT_EQ(sets[0].task.task, "word_similarity");
  const auto job = evaluate_job(nlohmann::ordered_json::parse(kModel), sets, "/out");
  EXPECT_FALSE(job.job["spec"].contains("data"));
  const auto read = jobs::read_job(job.job.dump());
  for (const auto& fault : read.faults) ADD_FAILURE() << fault.pointer << ": " << fault.detail;
}

TEST_F(EvaluateCommand, CaptionsAreReadWhereATaskOfTheFolderDoes) {
  fs::create_directories(root_ / "wds_a/train");
  fs::create_directories(root_ / "wds_b");
  const auto sources = [&](const std::string& tasks) {
    const auto suite = parse_suite(
        R"({"format": "trireme-suite/1", "name": "s", "source": "h", "confidence": "c", "tasks": [)" + tasks +
            "]}",
        "s");
    const auto job = evaluate_job(nlohmann::ordered_json::parse(kModel), find_sets(suite, root_), "/out");
    std::string found;
    for (const auto& [name, source] : job.job["spec"]["data"].items())
      found += name + ":" + source.value("captions", "read") + " ";
    return found;
  };
  const std::string zero = R"({"set": "a", "task": "zero_shot", "metric": "acc1"})",
                    pairs = R"({"set": "r", "task": "retrieval", "metric": "acc", "folders": ["wds_a"]})",
                    other = R"({"set": "b", "task": "retrieval", "metric": "acc"})";
  EXPECT_EQ(sources(zero + "," + other), "a:none b:read ");  // nobody reads the captions of a
  EXPECT_EQ(sources(zero + "," + pairs), "a:read r:read ");  // one pass over the pictures for both
}

TEST_F(EvaluateCommand, WhatWasOddIsSaidWithItsRule) {
  ModelResults results{"m",
                       {SetResult{.set = "cifar10",
                                  .task = "zero_shot",
                                  .odd = {{"ties", 3}, {"empty_classes", 1}},
                                  .rules = {"smaller first"}},
                        SetResult{.set = "food", .task = "zero_shot", .rules = {"smaller first"}}}};
  EXPECT_EQ(oddities_of(results), (std::vector<std::string>{"cifar10: 3 ties, 1 empty_classes",
                                                            "rule (zero_shot): smaller first"}));
}

TEST_F(EvaluateCommand, AnAbsentSetIsNamedAndNeverAveraged) {
  const Suite suite =
      parse_suite(R"({"format": "trireme-suite/1", "name": "two", "source": "here", "confidence": "sure",
    "tasks": [{"set": "a", "task": "zero_shot", "metric": "acc1"}, {"set": "vtab/b", "task": "zero_shot", "metric": "acc1"}]})",
                  "f");
  fs::create_directories(root_ / "wds_a");
  const auto sets = find_sets(suite, root_);
  EXPECT_EQ(sets[0].folder, root_ / "wds_a");
  EXPECT_TRUE(sets[1].folder.empty());
  const auto job = evaluate_job(nlohmann::ordered_json::parse(kModel), sets, "/out");
  EXPECT_EQ(job.absent, std::vector<std::string>{"vtab/b"});
  ModelResults results{"m", {{"a", "t", "en", "acc1", {{"acc1", 0.5}}}}};
  auto averages = averages_of(results, suite);
  EXPECT_FALSE(averages.at(0).value.has_value());
  EXPECT_EQ(averages.at(0).there, 1U);
  results.sets.push_back({"wds_vtab-b", "t", "en", "acc1", {{"acc1", 0.25}}});
  EXPECT_EQ(averages_of(results, suite).at(0).value, 0.375);
  EXPECT_NE(matrix_text({results}, job.absent).find("absent: vtab/b"), std::string::npos);
}

TEST_F(EvaluateCommand, FaultsOfASuiteAreNamed) {
  const auto why = [](const std::string& tasks) {
    try {
      parse_suite(
          R"({"format": "trireme-suite/1", "name": "x", "source": "s", "confidence": "c", "tasks": )" +
              tasks + "}",
          "x.json");
      return std::string();
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  EXPECT_NE(why("[]").find("has no task"), std::string::npos);
  EXPECT_NE(why(R"([{"set": "a", "task": "zero_shot"}])").find("task 1 has no \"metric\""),
            std::string::npos);
  EXPECT_NE(why(R"([{"set": "a", "task": "zero_shot", "metric": "acc1", "promts": "x"}])").find("promts"),
            std::string::npos);
  EXPECT_THROW(read_suite("diht92"), Error);
}

TEST_F(EvaluateCommand, OtherResultsAreReadAndCounted) {
  write(
      "cb/one.json",
      R"({"dataset": "wds/cifar10", "model": "ViT-B-32", "pretrained": "laion", "task": "zeroshot_classification",
    "metrics": {"acc1": 0.6, "acc5": NaN, "mean_per_class_recall": 0.6}, "language": "en"})");
  write("cb.csv",
        "acc1,dataset,model,pretrained,task,language,model_fullname\n0.4,\"vtab/"
        "dtd\",ViT-B-32,laion,zeroshot_classification,en,ViT-B-32 laion\n"
        "0.7,cifar10,RN50,openai,zeroshot_classification,en,RN50 openai\n");
  const auto json = read_results((root_ / "cb").string());
  ASSERT_EQ(json.size(), 1U);
  EXPECT_FALSE(json[0].sets.at(0).value("acc5").has_value());  // Python's NaN is no number, and no 0
  EXPECT_EQ(json[0].name, "ViT-B-32 laion");
  EXPECT_EQ(json[0].find("cifar10")->value("acc1"), 0.6);
  const auto csv = read_results((root_ / "cb.csv").string());
  ASSERT_EQ(csv.size(), 2U);
  EXPECT_EQ(csv[0].find("wds_vtab-dtd")->value("acc1"), 0.4);
  const ModelResults ours{
      "ours",
      {{"cifar10", "t", "en", "acc1", {{"acc1", 0.65}}}, {"vtab/dtd", "t", "en", "acc1", {{"acc1", 0.4}}}}};
  const Wins wins = wins_over(ours, csv[0]), other = wins_over(ours, csv[1]);
  EXPECT_EQ(wins.ties, 1);
  EXPECT_EQ(wins.wins + wins.losses, 0);
  EXPECT_EQ(other.losses, 1);
  const std::string matrix = matrix_text({ours, csv[0], csv[1]}, {});
  EXPECT_NE(matrix.find("0.7000*"), std::string::npos) << matrix;
  EXPECT_NE(matrix.find("-0.0500"), std::string::npos) << matrix;
  EXPECT_NE(results_csv({ours}).find("dataset,model,pretrained,task,language,model_fullname,acc1"),
            std::string::npos);
  write("ours/evaluation.results.json", results_json({ours}, {}, {}, {wins}, ""));
  EXPECT_EQ(read_results((root_ / "ours").string()).at(0).find("cifar10")->value("acc1"), 0.65);
}

TEST_F(EvaluateCommand, RootsAreExpandedAndTypesRead) {
  write("root/wds_flickr/test/nshards.txt", "1");
  write("root/wds_flickr/dataset_type.txt", "retrieval\n");
  write("root/wds_voc/test/nshards.txt", "1");
  write("root/wds_voc/dataset_type.txt", "multilabel");
  const auto sets = sets_of({(root_ / "root").string()}, "auto");
  ASSERT_EQ(sets.size(), 2U);
  EXPECT_EQ(sets[0].task.task, "retrieval");
  EXPECT_EQ(sets[0].folder, root_ / "root/wds_flickr/test");
  EXPECT_EQ(sets[1].task.task, "multi_label");
  EXPECT_THROW(sets_of({(root_ / "none").string()}, "auto"), Error);
}

TEST_F(EvaluateCommand, WhatCannotBeEvaluatedIsRefusedByName) {
  using nlohmann::ordered_json;
  const auto why = [](const ordered_json& inspected) {
    try {
      checked_model(inspected, "M");
      return std::string();
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  const ordered_json model = ordered_json::parse(kModel);
  EXPECT_EQ(why({{"layout", "clip"}, {"model", model}}), "");
  EXPECT_NE(why({{"layout", nullptr}, {"why", "odd"}}).find("odd"), std::string::npos);
  EXPECT_NE(why({{"layout", "clip"}, {"model", {{"image", 1}}}}).find("has no text tower"),
            std::string::npos);
  EXPECT_NE(why({{"layout", "clip"}, {"not_finite", {"visual.proj"}}, {"model", model}}).find("visual.proj"),
            std::string::npos);
  EXPECT_NE(why({{"layout", "clip"}, {"refused", {"x means y"}}, {"model", model}}).find("x means y"),
            std::string::npos);
}

}  // namespace
}  // namespace trireme::coordinator::cli

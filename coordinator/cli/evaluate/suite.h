// Suites of benchmark sets: files of jobs/suites, and how their sets are found below a root.
//
//   {"format": "trireme-suite/1", "name", "about", "source", "confidence", "averages": {"<name>": ["<set>",
//   …]},
//    "tasks": [{"set", "folders": […], "task", "metric", "prompts", "classes", "split", "no_task",
//    "settings": {…}}]}
//
// `folders`: names that the set has in the wild, the first that exists counts (a file, of word_similarity);
// without any wds_<set with '-' for '/'>. `classes`: how many it has. `settings`: further ones of an evaluate
// stage; `ratings` and `answers` name files beside the pictures. `no_task`: why there is nothing that
// measures it: the set stands as absent. Settings beside those of an evaluate stage: train_split and
// validation_split, the splits beside it that a probe learns from and chooses by, train_select,
// validation_select and test_select, their parts. A set without such a split or file is absent. An average is
// told only where every set of it is there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/io/file.h"

namespace trireme::coordinator::cli {

struct SuiteTask {
  std::string set, task = "auto", metric, prompts, split = "test", no_task;
  std::vector<std::string> folders;
  std::optional<std::int64_t> classes;
  nlohmann::ordered_json settings = nlohmann::ordered_json::object();
};

struct Suite {
  std::string name, about, source, confidence;
  std::vector<SuiteTask> tasks;
  std::vector<std::pair<std::string, std::vector<std::string>>>
      averages;  // name, sets; none: "mean" over all
};

// A file, or the name of one in jobs/suites of the checkout or share/trireme/suites of an installed program.
// Throws kNotFound with the nearest name, kInvalid naming file and field.
Suite read_suite(const std::string& name_or_file);
Suite parse_suite(const std::string& text, const std::string& file);

// One set to evaluate: where it lies, and how.
struct EvaluatedSet {
  SuiteTask task;
  io::Path folder;  // or a file; empty: absent
};

// The sets of the suite below `root`, in the suite's order.
std::vector<EvaluatedSet> find_sets(const Suite& suite, const io::Path& root);

// Without a suite: each of `data` is a set, or a root of wds_* folders, which are sets. `task`: of all of
// them.
std::vector<EvaluatedSet> sets_of(const std::vector<std::string>& data, const std::string& task);

}  // namespace trireme::coordinator::cli

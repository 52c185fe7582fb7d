// What the stages before an export measured of its samples, for their .json: the score of a pair_scores stage
// under the stage's name, and the numbers that filters judged by (`columns`) under the rules' names. Columns
// of .json are there already; so what is added are scores (Exports in jobs/protocol/FORMAT.md).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::export_shards {

class MeasuredScores {
 public:
  // Of the inputs with the roles "facts" and "scores". Throws kDamaged naming file and line, kInvalid where
  // two filters judged a sample by different numbers of one name.
  explicit MeasuredScores(const runtime::OpenedTask& task);

  bool any() const { return any_; }  // whether something was measured at all
  std::map<std::string, double> of(std::int64_t sample, const std::string& key) const;

 private:
  void read_facts(const std::string& path);

  bool any_ = false;
  std::unordered_map<std::int64_t, std::map<std::string, double>> by_sample_;
  std::vector<std::pair<std::string, std::unordered_map<std::string, double>>> by_key_;
};

// The document with these members; one of the same name and another value is replaced. Bytes that need not
// change do not. What is no JSON object stays as it is, and `added` becomes false.
std::string with_members(const std::string& json, const std::map<std::string, double>& members, bool& added);

}  // namespace trireme::worker::stages::export_shards

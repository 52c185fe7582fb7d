// An evaluation as CLIP_benchmark 1.6.1 writes it, so that its `build` command reads ours (FORMATS 1):
//   {"dataset","model","pretrained","task","metrics":{…},"language"} and, of our own, "chance": the same
//   metrics by chance, "counts": what was measured and what was odd among it, "rules": how it was counted
// Strictly valid JSON: a value that is not finite is written as null (CLIP_benchmark writes NaN).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace trireme::worker::evaluation {

// In the order in which they are shown and written.
using Metrics = std::vector<std::pair<std::string, double>>;

// The value of a metric; throws kNotFound with the nearest known name.
double metric(const Metrics& metrics, const std::string& name);

struct EvaluationResult {
  std::string dataset, model, pretrained;
  std::string task;  // "zeroshot_classification", "zeroshot_retrieval"
  Metrics metrics;
  std::string language = "en";
  Metrics chance;                                            // what guessing gives; left out when empty
  std::vector<std::pair<std::string, std::int64_t>> counts;  // "ties", "not_finite" …; left out when empty
  std::vector<std::string> rules;                            // sentences; left out when empty
};
std::string to_json(const EvaluationResult& result);  // one line, no newline at the end

// {"name": value, …} alone (StepReport::evaluation).
std::string to_json(const Metrics& metrics);

}  // namespace trireme::worker::evaluation

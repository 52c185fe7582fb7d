// Results of several models over several sets: ours and other people's, their matrix, averages and win
// counts.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "coordinator/cli/evaluate/evaluate_job.h"

namespace trireme::coordinator::cli {

struct SetResult {
  std::string set, task, language, metric;  // metric: the one that counts
  std::vector<std::pair<std::string, double>> metrics;
  std::vector<std::pair<std::string, std::int64_t>> odd;  // counts of what was odd, none of them 0
  std::vector<std::string> rules;
  std::optional<double> value(const std::string& name) const;
};

struct ModelResults {
  std::string name;  // a column's head
  std::vector<SetResult> sets;
  const SetResult* find(const std::string& set) const;  // by plain_set()
};

// One spelling of a set's name: "wds/vtab/cifar10" and "wds_vtab-cifar10" are "vtab-cifar10".
std::string plain_set(std::string name);
// The metric that counts where a suite says nothing: acc1, mean_average_precision, mean_recall@1, acc …
std::string usual_metric(const std::vector<std::pair<std::string, double>>& metrics);

// What a model's stages left below `output`. kNotFound naming a stage without a result.
ModelResults own_results(const std::vector<StageOfSet>& stages, const std::string& output,
                         const std::string& name);

// Other results: an output of `trireme evaluate`, a JSON file of CLIP_benchmark or a folder of such, or the
// CSV that its `build` writes; several models where a file holds them. Throws kNotFound, kDamaged naming the
// file.
std::vector<ModelResults> read_results(const std::string& path);

// What was odd about the sets, a line each, and the rules by which it was counted, a line per rule.
std::vector<std::string> oddities_of(const ModelResults& results);

struct Average {
  std::string name;
  std::size_t there = 0, wanted = 0;
  std::optional<double> value;  // only where every set is there
};
std::vector<Average> averages_of(const ModelResults& results, const Suite& suite);

// Over the sets that both have, by the metric that counts in `ours`.
struct Wins {
  std::string against;
  int wins = 0, ties = 0, losses = 0;
};
Wins wins_over(const ModelResults& ours, const ModelResults& other);

// Sets down, models across, the best of a row marked with '*'; the difference to ours beside each other's.
std::string matrix_text(const std::vector<ModelResults>& models, const std::vector<std::string>& absent);
std::string matrix_html(const std::string& title, const std::vector<ModelResults>& models,
                        const std::vector<std::string>& absent, const std::vector<std::string>& remarks);
// As CLIP_benchmark's `build`: dataset, model, pretrained, task, language, model_fullname, then the metrics.
std::string results_csv(const std::vector<ModelResults>& own);
// `own`: the first is that of averages and wins.
std::string results_json(const std::vector<ModelResults>& own, const std::vector<std::string>& absent,
                         const std::vector<Average>& averages, const std::vector<Wins>& wins,
                         const std::string& suite);

}  // namespace trireme::coordinator::cli

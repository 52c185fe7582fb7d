// What the parts of evaluate share: what the merge reads, and what it finds. One function per kind of
// measurement; each throws kInvalid naming the data set where it lacks what is asked for.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "worker/checkpoint/features.h"
#include "worker/evaluation/result.h"
#include "worker/stages/evaluate/members.h"

namespace trireme::worker::stages::evaluate {

using Task = runtime::OpenTask<jobs::EvaluateSettings>;

struct Inputs {
  std::vector<jobs::ShardRef> shards;
  jobs::InputFile model;
  checkpoint::Features features, train_features;  // the latter of train_data
  std::string data;                               // name of the data set
  Places places;                                  // of the rows of `features`
};

struct Outcome {
  evaluation::EvaluationResult result;
  nlohmann::ordered_json summary;

  // Among the result's counts, and in the summary.
  void count(const std::string& name, std::int64_t value);
};

nlohmann::ordered_json json_of(const evaluation::Metrics& metrics);

// Rows that hold NaN or an infinity; they are misses wherever they are asked.
std::int64_t not_finite(const at::Tensor& rows_ND);

bool asks(const jobs::EvaluateSettings& settings, jobs::AlsoMetric metric);
void need_captions(const Inputs& inputs);

inline constexpr const char* kSmallerFirst = "of equal scores the candidate with the smaller index is first";
inline constexpr const char* kNotFinite = "an embedding that is not finite is a miss";

// Recall both ways, with folds where asked. Where the settings name a language, captions in
// another are refused.
Outcome retrieval(const Task& task, const Inputs& inputs);

// SugarCrepe: a picture and its captions, of which the first is right. With group_field, Winoground: the
// pictures of an item in their order, each with its caption first. A tie is wrong (METHODS 7.8).
Outcome choice(const Task& task, const Inputs& inputs);

}  // namespace trireme::worker::stages::evaluate

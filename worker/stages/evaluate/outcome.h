// What the parts of evaluate share: what the merge reads, and what it finds. One function per kind of
// measurement; each throws kInvalid naming the data set where it lacks what is asked for.
#pragma once

#include <functional>
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
  checkpoint::Features features, train_features;  // the latter of train_data, but for a linear probe
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

// Recall both ways, with folds and text to text where asked. Where the settings name a language, captions in
// another are refused.
Outcome retrieval(const Task& task, const Inputs& inputs);

// SugarCrepe: a picture and its captions, of which the first is right. With group_field, Winoground: the
// pictures of an item in their order, each with its caption first. A tie is wrong (METHODS 7.8).
Outcome choice(const Task& task, const Inputs& inputs);

// Crisscrossed Captions (METHODS 7.5): image -> text and text -> image with the pairs rated 3 or more beside
// the pictures' own, text -> text and image -> image, and sis, sits and sts, Spearman's rho of cosine and
// rating, bootstrapped over the first item of the rated pairs. Candidates are the pictures and captions that
// the files name; the set must hold all of them.
Outcome ratings(const Task& task, const Inputs& inputs);

// SimLex-999 (METHODS 3.5): rho over all pairs, by part of speech, by quartile of concreteness, and over the
// 333 most associated ones; of what the text tower gives before the projection.
Outcome words(const Task& task, const Inputs& inputs, const std::string& device);

// SNLI-VE by a rule of our own (METHODS 7.8): captions are hypotheses, labels 0 entailment, 1 neutral, 2
// contradiction. Two thresholds of the cosine are chosen on train_data; accuracy, and the ROC AUC of
// entailment against contradiction.
Outcome entailment(const Task& task, const Inputs& inputs);

// VQAv2 by a rule of our own (METHODS 7.8): of the listed answers the one whose "question: q answer: a" is
// nearest to the picture; an answer counts min(people who gave it / 3, 1).
Outcome answers(const Task& task, const Inputs& inputs, const std::string& device,
                const std::function<void()>& poll);

}  // namespace trireme::worker::stages::evaluate

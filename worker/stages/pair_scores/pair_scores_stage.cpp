#include "worker/stages/pair_scores/pair_scores_stage.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/checkpoint/features.h"
#include "worker/data/batches/scores.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/embedding/encoder.h"

namespace trireme::worker::stages::pair_scores {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

double dot(const float* a, const float* b, std::int64_t width) {
  double sum = 0;
  for (std::int64_t i = 0; i < width; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// Per row of `sample`: the best cosine with one of its captions, kNone without captions, NaN when an
// embedding is no direction.
std::vector<double> best_cosines(const checkpoint::Features& features) {
  const at::Tensor image = features.image.contiguous(), text = features.text.contiguous();
  const std::int64_t width = image.size(1);
  const float *const images = image.data_ptr<float>(), *const texts = text.data_ptr<float>();
  const auto* const owners = features.text_owner.data_ptr<std::int64_t>();
  std::vector<double> best(static_cast<std::size_t>(image.size(0)), kNone);
  for (std::int64_t row = 0; row < text.size(0); ++row) {
    const float *const a = images + owners[row] * width, *const b = texts + row * width;
    const double cosine = dot(a, b, width) / std::sqrt(dot(a, a, width) * dot(b, b, width));
    double& so_far = best[static_cast<std::size_t>(owners[row])];
    if (std::isnan(cosine) || cosine > so_far) so_far = cosine;  // NaN stays: no comparison with it holds
  }
  return best;
}

}  // namespace

jobs::TaskDone PairScoresStage::work(const Task& task, runtime::TaskContext& context) {
  const data::ShardReader shard = task.open_shard();
  checkpoint::Features features = checkpoint::read_features(task.inputs.only(jobs::Role::kFeatures).path);
  if (!features.image.defined() || !features.text.defined())
    throw Error(ErrorKind::kInvalid,
                "stage '" + task.stage() + "' scores pairs, but the embeddings have one tower only",
                "embed with a model whose image and text towers are both frozen");
  if (features.space != "shared") {
    if (task.message.model.empty())
      throw Error(ErrorKind::kInternal,
                  "stage '" + task.stage() + "' was given towers' features and no model");
    auto& model = model_.get(task.message, context.device);
    features.image = embedding::project_images(model, context.device, features.image);
    features.text = embedding::project_texts(model, context.device, features.text);
  }
  const std::vector<double> cosines = best_cosines(features);
  const auto* const samples = features.sample.data_ptr<std::int64_t>();
  std::vector<std::pair<std::string, double>> scores;
  jobs::TaskDone result;
  result.counts = {{"scored", 0}, {"no_caption", 0}, {"not_finite", 0}};
  for (std::size_t row = 0; row < cosines.size(); ++row) {
    if (std::isfinite(cosines[row])) scores.emplace_back(shard.key(samples[row]), cosines[row]);
    ++result.counts[std::isfinite(cosines[row]) ? "scored"
                    : cosines[row] == kNone     ? "no_caption"
                                                : "not_finite"];
  }
  io::write_file_atomic(task.output(), data::scores_file(data::kSimilarity, task.shard().sha256, scores));
  return result;
}

}  // namespace trireme::worker::stages::pair_scores

#include "worker/evaluation/zero_shot.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "common/base/error.h"

namespace trireme::worker::evaluation {
namespace {

constexpr std::int64_t kTileElements = std::int64_t{1} << 23;

at::Tensor normalized(const at::Tensor& rows) {
  return rows / rows.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
}

void check(const at::Tensor& image_ND, const at::Tensor& class_CD, const at::Tensor& label_N) {
  if (image_ND.dim() != 2 || class_CD.dim() != 2 || image_ND.size(1) != class_CD.size(1)) {
    throw Error(ErrorKind::kInvalid, "zero-shot needs image [N, D] and class [C, D] embeddings of one width");
  }
  if (label_N.dim() != 1 || label_N.size(0) != image_ND.size(0) || label_N.scalar_type() != at::kLong) {
    throw Error(ErrorKind::kInvalid, "zero-shot needs one label (int64) per image: " +
                                         std::to_string(image_ND.size(0)) + " images");
  }
  if (image_ND.size(0) == 0 || class_CD.size(0) == 0) {
    throw Error(ErrorKind::kInvalid, "there is nothing to classify: " + std::to_string(image_ND.size(0)) +
                                         " images, " + std::to_string(class_CD.size(0)) + " classes");
  }
  const auto low = label_N.min().item<std::int64_t>(), high = label_N.max().item<std::int64_t>();
  if (low < 0 || high >= class_CD.size(0)) {
    throw Error(ErrorKind::kInvalid,
                "label " + std::to_string(low < 0 ? low : high) + " is outside the " +
                    std::to_string(class_CD.size(0)) + " classes",
                "labels count from 0; give every class a name in spec.data.<name>.classes or classnames.txt");
  }
}

// Rank from 0 of each image's own class.
at::Tensor label_ranks(const at::Tensor& image_ND, const at::Tensor& class_CD, const at::Tensor& label_N) {
  const auto rows = std::max<std::int64_t>(1, kTileElements / class_CD.size(0));
  const auto column_C = at::arange(class_CD.size(0), label_N.options());
  std::vector<at::Tensor> ranks;
  for (std::int64_t first = 0; first < image_ND.size(0); first += rows) {
    const auto count = std::min(rows, image_ND.size(0) - first);
    const auto score_RC = image_ND.narrow(0, first, count).matmul(class_CD.t());
    const auto label_R1 = label_N.narrow(0, first, count).unsqueeze(1);
    const auto own_R1 = score_RC.gather(1, label_R1);
    const auto greater = (score_RC <= own_R1).logical_not_();
    const auto tied_before = (score_RC == own_R1).logical_and_(column_C < label_R1);
    ranks.push_back(greater.logical_or_(tied_before).sum(1));
  }
  return at::cat(ranks).cpu();
}

double share(const at::Tensor& hit_N) {
  return hit_N.to(at::kDouble).mean().item<double>();
}

}  // namespace

std::vector<std::string> class_prompts(const std::vector<std::string>& classes,
                                       const std::vector<std::string>& templates) {
  std::vector<std::string> prompts;
  prompts.reserve(classes.size() * templates.size());
  for (const std::string& name : classes) {
    for (std::string prompt : templates) {
      for (auto at = prompt.find("{c}"); at != std::string::npos; at = prompt.find("{c}", at + name.size())) {
        prompt.replace(at, 3, name);
      }
      prompts.push_back(std::move(prompt));
    }
  }
  return prompts;
}

at::Tensor class_embeddings(const at::Tensor& prompt_embeddings, std::int64_t classes) {
  if (classes < 1 || prompt_embeddings.dim() != 2 || prompt_embeddings.size(0) == 0 ||
      prompt_embeddings.size(0) % classes != 0) {
    throw Error(ErrorKind::kInvalid, "prompt embeddings do not divide into " + std::to_string(classes) +
                                         " classes of equally many prompts");
  }
  const auto prompts_CPD = normalized(prompt_embeddings).reshape({classes, -1, prompt_embeddings.size(1)});
  return normalized(prompts_CPD.mean(1));
}

Metrics zero_shot_metrics(const at::Tensor& image_ND, const at::Tensor& class_CD, const at::Tensor& label_N) {
  check(image_ND, class_CD, label_N);
  const auto image = image_ND.detach().to(at::kFloat);
  const auto rank_N = label_ranks(image, class_CD.detach().to(at::kFloat), label_N.to(image.device()));
  const auto classes = class_CD.size(0);
  const auto hit_N = rank_N < 1;
  const auto label = label_N.cpu();
  const auto seen_C = at::bincount(label, {}, classes).to(at::kDouble);
  const auto hits_C = at::bincount(label, hit_N.to(at::kDouble), classes);
  const auto occurs_C = seen_C > 0;
  Metrics metrics = {{"acc1", share(hit_N)}};
  if (classes >= 5) metrics.emplace_back("acc5", share(rank_N < 5));
  metrics.emplace_back(
      "mean_per_class_recall",
      (hits_C.masked_select(occurs_C) / seen_C.masked_select(occurs_C)).mean().item<double>());
  return metrics;
}

ClassRanks class_ranks(const at::Tensor& image_ND, const at::Tensor& class_CD, const at::Tensor& label_N) {
  check(image_ND, class_CD, label_N);
  const auto image = image_ND.detach().to(at::kFloat);
  const auto classes = class_CD.detach().to(at::kFloat);
  ClassRanks ranks{label_ranks(image, classes, label_N.to(image.device())), {}, 0};
  const auto rows = std::max<std::int64_t>(1, kTileElements / classes.size(0));
  std::vector<at::Tensor> first;
  for (std::int64_t at = 0; at < image.size(0); at += rows) {
    const auto count = std::min(rows, image.size(0) - at);
    const auto score_RC = image.narrow(0, at, count).matmul(classes.t());
    const auto own_R1 = score_RC.gather(1, label_N.narrow(0, at, count).unsqueeze(1));
    ranks.tied += ((score_RC == own_R1).sum(1) > 1).sum().item<std::int64_t>();
    first.push_back((score_RC == score_RC.amax(1, true)).to(at::kByte).argmax(1));
  }
  ranks.first_N = at::cat(first).cpu();
  return ranks;
}

Metrics zero_shot_chance(std::int64_t classes) {
  const auto count = static_cast<double>(classes);
  Metrics metrics = {{"acc1", 1 / count}};
  if (classes >= 5) metrics.emplace_back("acc5", 5 / count);
  metrics.emplace_back("mean_per_class_recall", 1 / count);
  return metrics;
}

}  // namespace trireme::worker::evaluation

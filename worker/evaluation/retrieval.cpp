#include "worker/evaluation/retrieval.h"

#include <algorithm>
#include <limits>
#include <string>
#include <unordered_map>

#include <ATen/ATen.h>

#include "common/base/error.h"

namespace trireme::worker::evaluation {
namespace {

void check(const at::Tensor& image_ND, const at::Tensor& text_MD, const at::Tensor& owner_M) {
  if (image_ND.dim() != 2 || text_MD.dim() != 2 || image_ND.size(1) != text_MD.size(1)) {
    throw Error(ErrorKind::kInvalid, "retrieval needs image [N, D] and text [M, D] embeddings of one width");
  }
  if (owner_M.dim() != 1 || owner_M.size(0) != text_MD.size(0) || owner_M.scalar_type() != at::kLong) {
    throw Error(ErrorKind::kInvalid, "retrieval needs one owner (int64) per caption: " +
                                         std::to_string(text_MD.size(0)) + " captions");
  }
  if (image_ND.size(0) == 0 || text_MD.size(0) == 0) {
    throw Error(ErrorKind::kInvalid,
                "there is nothing to retrieve: " + std::to_string(image_ND.size(0)) + " images, " +
                    std::to_string(text_MD.size(0)) + " captions",
                "look at the counts of bad and dropped samples");
  }
  const auto low = owner_M.min().item<std::int64_t>(), high = owner_M.max().item<std::int64_t>();
  if (low < 0 || high >= image_ND.size(0)) {
    throw Error(ErrorKind::kInvalid, "a caption belongs to image row " +
                                         std::to_string(low < 0 ? low : high) + ", but there are " +
                                         std::to_string(image_ND.size(0)) + " images");
  }
}

// Candidates before (own score, own index) in each row; NaN anywhere counts as before.
at::Tensor count_before(const at::Tensor& score_RC, const at::Tensor& own_R1, const at::Tensor& index_R1,
                        const at::Tensor& column_C) {
  const auto greater = (score_RC <= own_R1).logical_not_();
  const auto tied_before = (score_RC == own_R1).logical_and_(column_C < index_R1);
  return greater.logical_or_(tied_before).sum(1);
}

at::Tensor text_ranks(const at::Tensor& image_ND, const at::Tensor& text_MD, const at::Tensor& owner_M,
                      std::int64_t rows, std::int64_t& tied) {
  const auto column_N = at::arange(image_ND.size(0), owner_M.options());
  std::vector<at::Tensor> ranks;
  for (std::int64_t first = 0; first < text_MD.size(0); first += rows) {
    const auto count = std::min(rows, text_MD.size(0) - first);
    const auto score_RN = text_MD.narrow(0, first, count).matmul(image_ND.t());
    const auto owner_R1 = owner_M.narrow(0, first, count).unsqueeze(1);
    const auto own_R1 = score_RN.gather(1, owner_R1);
    tied += ((score_RN == own_R1).sum(1) > 1).sum().item<std::int64_t>();
    ranks.push_back(count_before(score_RN, own_R1, owner_R1, column_N));
  }
  return at::cat(ranks);
}

// Ranks of the best placed of each row's own candidates.
at::Tensor best_ranks(const at::Tensor& score_RC, const at::Tensor& own_RC, const at::Tensor& column_C,
                      std::int64_t& tied) {
  const auto best_R1 =
      score_RC.masked_fill(own_RC.logical_not(), -std::numeric_limits<float>::infinity()).amax(1, true);
  const auto equal_RC = score_RC == best_R1;
  tied += equal_RC.logical_and(own_RC.logical_not()).any(1).sum().item<std::int64_t>();
  const auto index_R1 =
      at::where(equal_RC.logical_and(own_RC), column_C, at::full({}, score_RC.size(1), column_C.options()))
          .amin(1, true);
  return count_before(score_RC, best_R1, index_R1, column_C);
}

at::Tensor image_ranks(const at::Tensor& image_ND, const at::Tensor& text_MD, const at::Tensor& owner_M,
                       std::int64_t rows, std::int64_t& tied) {
  const auto column_M = at::arange(text_MD.size(0), owner_M.options());
  const auto query_Q = std::get<0>(at::_unique2(owner_M, /*sorted=*/true));
  std::vector<at::Tensor> ranks;
  for (std::int64_t first = 0; first < query_Q.size(0); first += rows) {
    const auto query_R = query_Q.narrow(0, first, std::min(rows, query_Q.size(0) - first));
    const auto score_RM = image_ND.index_select(0, query_R).matmul(text_MD.t());
    ranks.push_back(best_ranks(score_RM, owner_M == query_R.unsqueeze(1), column_M, tied));
  }
  return at::cat(ranks);
}

std::string at_k(const std::string& name, std::int64_t k) {
  return name + "@" + std::to_string(k);
}

void check_k(std::int64_t k, std::int64_t images, std::int64_t texts) {
  if (k < 1 || k > images || k > texts) {
    throw Error(ErrorKind::kInvalid,
                "recall@" + std::to_string(k) + " of " + std::to_string(images) + " images and " +
                    std::to_string(texts) + " captions",
                "choose recall_k between 1 and the number of candidates");
  }
}

double recall(const at::Tensor& rank, std::int64_t k) {
  return static_cast<double>((rank < k).sum().item<std::int64_t>()) / static_cast<double>(rank.size(0));
}

void add_mean_recall(Metrics& metrics, const std::vector<std::int64_t>& recall_k) {
  if (std::find(recall_k.begin(), recall_k.end(), 1) == recall_k.end()) return;
  metrics.emplace_back(
      "mean_recall@1",
      (metric(metrics, "image_retrieval_recall@1") + metric(metrics, "text_retrieval_recall@1")) / 2);
}

}  // namespace

RetrievalRanks retrieval_ranks(const at::Tensor& image_ND, const at::Tensor& text_MD,
                               const at::Tensor& owner_M, std::int64_t tile_elements) {
  check(image_ND, text_MD, owner_M);
  const auto image = image_ND.detach().to(at::kFloat), text = text_MD.detach().to(at::kFloat);
  const auto owner = owner_M.to(image.device());
  const auto rows = [&](std::int64_t candidates) {
    return std::max<std::int64_t>(1, tile_elements / candidates);
  };
  RetrievalRanks ranks;
  ranks.text_to_image_M = text_ranks(image, text, owner, rows(image.size(0)), ranks.tied).cpu();
  ranks.image_to_text_Q = image_ranks(image, text, owner, rows(text.size(0)), ranks.tied).cpu();
  return ranks;
}

Metrics retrieval_recall(const at::Tensor& image_ND, const at::Tensor& text_MD, const at::Tensor& owner_M,
                         const std::vector<std::int64_t>& recall_k, std::int64_t* tied) {
  for (const auto k : recall_k) check_k(k, image_ND.size(0), text_MD.size(0));
  const RetrievalRanks ranks = retrieval_ranks(image_ND, text_MD, owner_M);
  if (tied != nullptr) *tied += ranks.tied;
  Metrics metrics;
  for (const auto k : recall_k) {
    metrics.emplace_back(at_k("image_retrieval_recall", k), recall(ranks.text_to_image_M, k));
    metrics.emplace_back(at_k("text_retrieval_recall", k), recall(ranks.image_to_text_Q, k));
  }
  add_mean_recall(metrics, recall_k);
  return metrics;
}

Metrics folded_recall(const at::Tensor& image_ND, const at::Tensor& text_MD, const at::Tensor& owner_M,
                      const std::vector<std::int64_t>& recall_k, std::int64_t fold, std::int64_t* tied) {
  check(image_ND, text_MD, owner_M);
  const std::int64_t images = image_ND.size(0), folds = images / fold;
  if (folds < 1 || folds * fold != images)
    throw Error(ErrorKind::kInvalid,
                std::to_string(images) + " images are no multiple of fold_images " + std::to_string(fold),
                "a picture that is missing or cannot be decoded breaks the protocol: look at the counts");
  const auto owner = owner_M.cpu();
  if ((owner.diff() < 0).any().item<bool>())
    throw Error(ErrorKind::kInvalid, "captions do not follow their images, so there are no folds");
  Metrics sum;
  for (std::int64_t f = 0; f < folds; ++f) {
    const auto in_fold = owner.ge(f * fold).logical_and(owner.lt((f + 1) * fold));
    const auto rows = in_fold.nonzero().squeeze(1);
    const auto metrics = retrieval_recall(image_ND.narrow(0, f * fold, fold),
                                          text_MD.index_select(0, rows.to(text_MD.device())),
                                          owner.index_select(0, rows) - f * fold, recall_k, tied);
    if (sum.empty()) sum = Metrics(metrics.size());
    for (std::size_t i = 0; i < metrics.size(); ++i)
      sum[i] = {metrics[i].first, sum[i].second + metrics[i].second / static_cast<double>(folds)};
  }
  return sum;
}

RankedQueries ranks_among(const at::Tensor& query_QD, const at::Tensor& candidate_CD,
                          const Positives& positives, std::int64_t tile_elements) {
  const auto query = query_QD.detach().to(at::kFloat).cpu(),
             candidate = candidate_CD.detach().to(at::kFloat).cpu();
  const std::int64_t candidates = candidate.size(0);
  const auto rows = static_cast<std::size_t>(
      std::max<std::int64_t>(1, tile_elements / std::max<std::int64_t>(1, candidates)));
  const auto column_C = at::arange(candidates, at::kLong);
  std::vector<std::int64_t> asked;
  for (std::size_t i = 0; i < positives.of_query.size(); ++i)
    if (!positives.of_query[i].empty()) asked.push_back(static_cast<std::int64_t>(i));
  RankedQueries found;
  std::vector<at::Tensor> ranks = {at::empty({0}, at::kLong)};
  for (std::size_t first = 0; first < asked.size(); first += rows) {
    const std::size_t count = std::min(rows, asked.size() - first);
    const auto index_R = at::tensor(at::IntArrayRef(asked.data() + first, count), at::kLong);
    auto score_RC = query.index_select(0, index_R).matmul(candidate.t());
    if (positives.same) score_RC.scatter_(1, index_R.unsqueeze(1), -std::numeric_limits<float>::infinity());
    auto own_RC = at::zeros({static_cast<std::int64_t>(count), candidates}, at::kBool);
    for (std::size_t r = 0; r < count; ++r)
      for (const auto c : positives.of_query[static_cast<std::size_t>(asked[first + r])])
        own_RC.data_ptr<bool>()[static_cast<std::int64_t>(r) * candidates + c] = true;
    ranks.push_back(best_ranks(score_RC, own_RC, column_C, found.tied));
  }
  found.rank_Q = at::cat(ranks);
  return found;
}

Metrics recall_among(const std::string& name, const at::Tensor& query_QD, const at::Tensor& candidate_CD,
                     const Positives& positives, const std::vector<std::int64_t>& recall_k,
                     std::int64_t* tied) {
  const std::int64_t candidates = candidate_CD.size(0) - (positives.same ? 1 : 0);
  for (const auto k : recall_k) check_k(k, candidates, candidates);
  const auto ranked = ranks_among(query_QD, candidate_CD, positives);
  if (ranked.rank_Q.numel() == 0)
    throw Error(ErrorKind::kInvalid, name + ": no query has anything right to find");
  if (tied != nullptr) *tied += ranked.tied;
  Metrics metrics;
  for (const auto k : recall_k) metrics.emplace_back(at_k(name, k), recall(ranked.rank_Q, k));
  return metrics;
}

Positives other_captions(const at::Tensor& owner_M) {
  const at::Tensor owners = owner_M.cpu().contiguous();
  const auto* owner = owners.const_data_ptr<std::int64_t>();
  std::unordered_map<std::int64_t, std::vector<std::int64_t>> of_image;
  for (std::int64_t i = 0; i < owners.numel(); ++i) of_image[owner[i]].push_back(i);
  Positives positives{.of_query = {}, .same = true};
  for (std::int64_t i = 0; i < owners.numel(); ++i) {
    auto others = of_image[owner[i]];
    std::erase(others, i);
    positives.of_query.push_back(std::move(others));
  }
  return positives;
}

double mean_recall(const Metrics& metrics) {
  double sum = 0;
  int count = 0;
  for (const auto& [name, value] : metrics)
    if (name.starts_with("image_retrieval_recall@") || name.starts_with("text_retrieval_recall@")) {
      sum += value;
      ++count;
    }
  return count == 0 ? 0 : sum / count;
}

Metrics retrieval_chance(std::int64_t images, const at::Tensor& owner_M,
                         const std::vector<std::int64_t>& recall_k) {
  const auto texts = owner_M.size(0);
  const auto captions = std::get<2>(at::_unique2(owner_M.cpu(), true, false, /*return_counts=*/true));
  Metrics metrics;
  for (const auto k : recall_k) {
    check_k(k, images, texts);
    double hit = 0;
    for (std::int64_t row = 0; row < captions.size(0); ++row) {
      const double own = static_cast<double>(captions[row].item<std::int64_t>());
      double miss = 1;  // C(M-c, k) / C(M, k)
      for (std::int64_t i = 0; i < k; ++i) {
        miss *= std::max(0.0, static_cast<double>(texts - i) - own) / static_cast<double>(texts - i);
      }
      hit += 1 - miss;
    }
    metrics.emplace_back(at_k("image_retrieval_recall", k),
                         static_cast<double>(k) / static_cast<double>(images));
    metrics.emplace_back(at_k("text_retrieval_recall", k), hit / static_cast<double>(captions.size(0)));
  }
  add_mean_recall(metrics, recall_k);
  return metrics;
}

}  // namespace trireme::worker::evaluation

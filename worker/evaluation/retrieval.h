// Image–text retrieval with any number of captions per image (METHODS 7.2). Names are CLIP_benchmark's:
// image_retrieval_recall@k = text -> image, text_retrieval_recall@k = image -> text.
//
// Scores are dot products in float32. The rank of a query is the number of candidates before its best placed
// positive: strictly greater, or equal with a smaller index (a stable order). Text -> image: the caption's
// only image, over all captions. Image -> text: the best placed of the image's captions, over all images that
// have one; an image without captions is a candidate but no query. A query whose score is NaN is a miss.
// Legend: N images, M captions, D width.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/evaluation/result.h"

namespace trireme::worker::evaluation {

// Rank from 0 of every query, int64.
struct RetrievalRanks {
  at::Tensor text_to_image_M;
  at::Tensor image_to_text_Q;  // images that have a caption, in their order
  std::int64_t tied = 0;       // queries whose best placed positive has an equal among the others
};

// Embeddings as they are (normalise first), any float type, CPU or CUDA, both on one device. owner_M: int64,
// the image row of each caption. At most `tile_elements` scores exist at once. Throws kInvalid on shapes or
// owners that do not fit, and when there is nothing to rank.
RetrievalRanks retrieval_ranks(const at::Tensor& image_ND, const at::Tensor& text_MD,
                               const at::Tensor& owner_M, std::int64_t tile_elements = std::int64_t{1} << 23);

// R@k both ways for each k, in the order image_retrieval_recall@k, text_retrieval_recall@k per k; then
// mean_recall@1 (mean of both R@1) when 1 is among them. Throws kInvalid when a k is larger than the number
// of candidates of either direction, as torch.topk does in CLIP_benchmark. Adds to `tied`, which may be null,
// RetrievalRanks::tied.
Metrics retrieval_recall(const at::Tensor& image_ND, const at::Tensor& text_MD, const at::Tensor& owner_M,
                         const std::vector<std::int64_t>& recall_k, std::int64_t* tied = nullptr);

// Within every `fold` images in a row with their captions, and the mean over the folds, under the same names
// (the 1k protocol of COCO's 5,000). kInvalid where the images are no multiple of `fold`, or the captions do
// not follow their images.
Metrics folded_recall(const at::Tensor& image_ND, const at::Tensor& text_MD, const at::Tensor& owner_M,
                      const std::vector<std::int64_t>& recall_k, std::int64_t fold,
                      std::int64_t* tied = nullptr);

// Retrieval among any candidates, each query with the candidates that are right for it.
struct Positives {
  std::vector<std::vector<std::int64_t>> of_query;  // candidates; a query without one is left out
  bool same = false;  // queries and candidates are the same rows: a query is no candidate of its own
};
struct RankedQueries {
  at::Tensor rank_Q;  // int64, from 0, of the best placed positive, as above
  std::int64_t tied = 0;
};
RankedQueries ranks_among(const at::Tensor& query_QD, const at::Tensor& candidate_CD,
                          const Positives& positives, std::int64_t tile_elements = std::int64_t{1} << 23);
// "<name>@k" per k. kInvalid where no query has a positive, or a k is beyond the candidates.
Metrics recall_among(const std::string& name, const at::Tensor& query_QD, const at::Tensor& candidate_CD,
                     const Positives& positives, const std::vector<std::int64_t>& recall_k,
                     std::int64_t* tied = nullptr);

// T2T: for each caption the others of its picture, among all captions but itself; "text_to_text_recall@k".
Positives other_captions(const at::Tensor& owner_M);

// mR: the mean of every recall@k between pictures and texts that is there, both ways.
double mean_recall(const Metrics& metrics);

// What random scores give, under the same names: k/N, and the mean over images of 1 - C(M-c,k)/C(M,k) for an
// image of c captions.
Metrics retrieval_chance(std::int64_t images, const at::Tensor& owner_M,
                         const std::vector<std::int64_t>& recall_k);

}  // namespace trireme::worker::evaluation

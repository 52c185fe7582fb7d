#include "worker/search/exact_index.h"

#include <algorithm>
#include <limits>
#include <string>

#include <ATen/ATen.h>

#include "common/base/error.h"

namespace trireme::worker::search {
namespace {

bool better(const Hit& a, const Hit& b) {
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

// Adds a tile's scores to the best so far; `best` stays a heap with the worst hit on top.
void offer(std::vector<Hit>& best, std::size_t k, const float* scores, std::int64_t first,
           std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float score = scores[i] == scores[i] ? scores[i] : -std::numeric_limits<float>::infinity();
    const Hit hit{first + i, score};
    if (best.size() < k) {
      best.push_back(hit);
      std::push_heap(best.begin(), best.end(), better);
    } else if (better(hit, best.front())) {
      std::pop_heap(best.begin(), best.end(), better);
      best.back() = hit;
      std::push_heap(best.begin(), best.end(), better);
    }
  }
}

}  // namespace

ExactIndex::ExactIndex(at::Tensor rows_ND) : rows_ND_(std::move(rows_ND)) {
  if (rows_ND_.dim() != 2 || rows_ND_.scalar_type() != at::kFloat || !rows_ND_.device().is_cpu()) {
    throw Error(ErrorKind::kInvalid, "an index needs float32 rows [N, D] on the CPU");
  }
}

std::vector<std::vector<Hit>> ExactIndex::search(const at::Tensor& query_QD, std::int64_t k,
                                                 std::int64_t tile_rows) const {
  if (k < 1 || query_QD.dim() != 2 || query_QD.size(1) != width()) {
    throw Error(ErrorKind::kInvalid,
                "search needs k of 1 or more and queries " + std::to_string(width()) + " wide");
  }
  const at::NoGradGuard no_gradients;
  const auto query = query_QD.to(at::kCPU, at::kFloat);
  std::vector<std::vector<Hit>> hits(static_cast<std::size_t>(query.size(0)));
  for (std::int64_t first = 0; first < size(); first += tile_rows) {
    const auto count = std::min(tile_rows, size() - first);
    const auto score_QT = query.matmul(rows_ND_.narrow(0, first, count).t()).contiguous();
    for (std::size_t q = 0; q < hits.size(); ++q) {
      offer(hits[q], static_cast<std::size_t>(k),
            score_QT.const_data_ptr<float>() + static_cast<std::int64_t>(q) * count, first, count);
    }
  }
  for (auto& best : hits) std::sort(best.begin(), best.end(), better);
  return hits;
}

}  // namespace trireme::worker::search

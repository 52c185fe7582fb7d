// The best rows so far: highest score first, equal scores by row; a NaN is worse than every number.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "worker/search/hit.h"

namespace trireme::worker::search {

class BestRows {
 public:
  explicit BestRows(std::int64_t k) : k_(static_cast<std::size_t>(k)) {}

  void offer(std::int64_t row, float score) {
    const Hit hit{row, score == score ? score : -std::numeric_limits<float>::infinity()};
    if (heap_.size() < k_) {
      heap_.push_back(hit);
      std::push_heap(heap_.begin(), heap_.end(), is_better);
    } else if (is_better(hit, heap_.front())) {
      std::pop_heap(heap_.begin(), heap_.end(), is_better);
      heap_.back() = hit;
      std::push_heap(heap_.begin(), heap_.end(), is_better);
    }
  }
  void offer(const BestRows& others) {
    for (const Hit& hit : others.heap_) offer(hit.row, hit.score);
  }
  std::vector<Hit> sorted() const {
    std::vector<Hit> hits = heap_;
    std::sort(hits.begin(), hits.end(), is_better);
    return hits;
  }

 private:
  std::size_t k_;
  std::vector<Hit> heap_;  // the worst on top
};

}  // namespace trireme::worker::search

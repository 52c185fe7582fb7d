// Rows that a search found, and the best of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace trireme::worker::search {

struct Hit {
  std::int64_t row = 0;
  float score = 0;
  bool operator==(const Hit&) const = default;
};

constexpr bool is_better(const Hit& a, const Hit& b) {
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

// The best rows so far: highest score first, equal scores by row; a NaN is worse than every number.
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
  // What a row's score has to reach to be among them.
  float least() const {
    return heap_.size() < k_ ? -std::numeric_limits<float>::infinity() : heap_.front().score;
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

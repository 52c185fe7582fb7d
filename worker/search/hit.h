// A row that a search found.
#pragma once

#include <cstdint>

namespace trireme::worker::search {

struct Hit {
  std::int64_t row = 0;
  float score = 0;
  bool operator==(const Hit&) const = default;
};

constexpr bool is_better(const Hit& a, const Hit& b) {
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

}  // namespace trireme::worker::search

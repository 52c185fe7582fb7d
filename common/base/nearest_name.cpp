#include "common/base/nearest_name.h"

#include <algorithm>
#include <numeric>

namespace trireme {
namespace {
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}
}  // namespace

std::string nearest_name(std::string_view given, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, given.size() / 3) + 1;
  if (given.size() > 256) return best;
  constexpr std::size_t kMostCompared = 1000;
  for (std::size_t i = 0; i < std::min(known.size(), kMostCompared); ++i) {
    const std::string& name = known[i];
    const std::size_t apart =
        name.size() > given.size() ? name.size() - given.size() : given.size() - name.size();
    if (apart >= best_distance) continue;  // each letter more is one step
    const std::size_t distance = edit_distance(given, name);
    if (distance < best_distance) {
      best_distance = distance;
      best = name;
    }
  }
  return best;
}

}  // namespace trireme

#include "worker/spotting/components.h"

#include <algorithm>
#include <limits>

namespace trireme::worker::spotting {
namespace {

struct Run {
  int first, last;  // inclusive
  int label;
};

// Union-find over labels; boxes grow with their root.
class Labels {
 public:
  int add() {
    parents_.push_back(static_cast<int>(parents_.size()));
    parts_.push_back({std::numeric_limits<int>::max(), std::numeric_limits<int>::max(), 0, 0, 0, 0, 0});
    return parents_.back();
  }
  int root(int label) {
    auto at = static_cast<std::size_t>(label);
    while (parents_[at] != static_cast<int>(at)) {
      parents_[at] = parents_[static_cast<std::size_t>(parents_[at])];
      at = static_cast<std::size_t>(parents_[at]);
    }
    return static_cast<int>(at);
  }
  void join(int a, int b) {
    a = root(a);
    b = root(b);
    parents_[static_cast<std::size_t>(std::max(a, b))] = std::min(a, b);
  }
  void grow(int label, const Run& run, int y, int contrast) {
    Component& part = parts_[static_cast<std::size_t>(label)];
    part.left = std::min(part.left, run.first);
    part.right = std::max(part.right, run.last + 1);
    part.top = std::min(part.top, y);
    part.bottom = std::max(part.bottom, y + 1);
    part.area += run.last - run.first + 1;
    ++part.runs;
    part.contrast += contrast;  // a sum until finish()
  }
  std::vector<Component> finish() {
    for (std::size_t i = parts_.size(); i-- > 0;) {
      const auto top = static_cast<std::size_t>(root(static_cast<int>(i)));
      if (top == i) continue;
      Component& to = parts_[top];
      const Component& from = parts_[i];
      to.left = std::min(to.left, from.left);
      to.right = std::max(to.right, from.right);
      to.top = std::min(to.top, from.top);
      to.bottom = std::max(to.bottom, from.bottom);
      to.area += from.area;
      to.runs += from.runs;
      to.contrast += from.contrast;
    }
    std::vector<Component> found;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (parents_[i] != static_cast<int>(i)) continue;
      Component part = parts_[i];
      part.contrast /= part.area;
      found.push_back(part);
    }
    return found;
  }

 private:
  std::vector<int> parents_;
  std::vector<Component> parts_;
};

// One polarity, fed row by row.
class Scanner {
 public:
  explicit Scanner(int sign, int least) : sign_(sign), least_(least) {}

  // `differs`: of each pixel to the mean of its window, times `pixels` of the window.
  void row(const std::int32_t* differs, int pixels, int width, int y) {
    runs_.clear();
    const std::int32_t least = least_ * pixels;
    for (int x = 0; x < width; ++x) {
      if (sign_ * differs[x] <= least) continue;
      Run run{x, x, -1};
      std::int64_t contrast = 0;
      for (; x < width && sign_ * differs[x] > least; ++x) contrast += sign_ * differs[x];
      run.last = x - 1;
      connect(run);
      labels_.grow(run.label, run, y, static_cast<int>(contrast / pixels));
      runs_.push_back(run);
    }
    std::swap(runs_, above_);
    next_above_ = 0;
  }
  std::vector<Component> finish() { return labels_.finish(); }

 private:
  void connect(Run& run) {
    while (next_above_ < above_.size() && above_[next_above_].last + 1 < run.first) ++next_above_;
    for (std::size_t i = next_above_; i < above_.size() && above_[i].first <= run.last + 1; ++i) {
      if (run.label < 0)
        run.label = above_[i].label;
      else
        labels_.join(run.label, above_[i].label);
    }
    if (run.label < 0) run.label = labels_.add();
  }

  int sign_, least_;
  Labels labels_;
  std::vector<Run> runs_, above_;
  std::size_t next_above_ = 0;
};

}  // namespace

Components find_components(const Plane& plane, int radius, int least) {
  const int width = static_cast<int>(plane.width), height = static_cast<int>(plane.height);
  const int side = 2 * radius + 1;
  Scanner dark(-1, least), light(+1, least);
  // Sums over the window's rows, with the border repeated on all sides: every window has side^2 pixels.
  std::vector<std::int32_t> columns(static_cast<std::size_t>(width + 2 * radius));
  std::vector<std::int32_t> differs(static_cast<std::size_t>(width));
  const auto row_of = [&](int y) {
    return plane.luma.data() + static_cast<std::ptrdiff_t>(std::clamp(y, 0, height - 1)) * width;
  };
  for (int y = -radius; y <= radius; ++y)
    for (int x = 0; x < width; ++x)
      columns[static_cast<std::size_t>(x) + static_cast<std::size_t>(radius)] += row_of(y)[x];
  for (int y = 0; y < height; ++y) {
    std::int32_t* const sums = columns.data() + radius;
    if (y > 0) {
      const std::uint8_t* const enters = row_of(y + radius);
      const std::uint8_t* const leaves = row_of(y - radius - 1);
      for (int x = 0; x < width; ++x) sums[x] += enters[x] - leaves[x];
    }
    std::fill(columns.begin(), columns.begin() + radius, sums[0]);
    std::fill(columns.end() - radius, columns.end(), sums[width - 1]);
    std::int32_t window = 0;
    for (int x = 0; x < side - 1; ++x) window += columns[static_cast<std::size_t>(x)];
    const std::uint8_t* const row = row_of(y);
    for (int x = 0; x < width; ++x) {
      window += sums[x + radius];
      differs[static_cast<std::size_t>(x)] = row[x] * side * side - window;
      window -= sums[x - radius];
    }
    dark.row(differs.data(), side * side, width, y);
    light.row(differs.data(), side * side, width, y);
  }
  return {dark.finish(), light.finish()};
}

}  // namespace trireme::worker::spotting

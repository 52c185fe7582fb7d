#include "worker/stages/near_duplicates/near_embeddings.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/kernels/threads.h"
#include "worker/stages/near_duplicates/near_lists.h"

namespace trireme::worker::stages::near_duplicates {
namespace {

constexpr std::int64_t kTile = 1024;
constexpr double kRounding = 1e-9;
constexpr double kFloatRounding = 3e-4;  // of a product of unit rows of up to 4096 floats

double dot(const float* a, const float* b, std::int64_t width) {
  double sum = 0;
  for (std::int64_t i = 0; i < width; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace

NearEmbeddings::NearEmbeddings(const std::vector<data::RangeOfSamples>& ranges, double least_cosine,
                               const std::string& lists)
    : least_cosine_(least_cosine) {
  files_.reserve(ranges.size());
  for (std::uint32_t r = 0; r < ranges.size(); ++r) {
    const auto& file = files_.emplace_back(io::Path(ranges[r].path));
    const at::Tensor sample = file.load("sample"), image = file.view("image");
    if (sample.dim() != 1 || image.dim() != 2 || image.scalar_type() != at::kFloat ||
        image.size(0) != sample.size(0) || (width_ != 0 && image.size(1) != width_))
      throw Error(ErrorKind::kDamaged, ranges[r].path + ": image features of another shape or type",
                  "remove the file so that its embed task runs again");
    width_ = image.size(1);
    const float* rows = image.const_data_ptr<float>();
    for (std::int64_t i = 0; i < image.size(0); ++i) {
      const float* row = rows_.emplace_back(rows + i * width_);
      const double norm = std::sqrt(dot(row, row, width_));
      norms_.push_back(std::isfinite(norm) ? norm : 0);
      places_.push_back({r, static_cast<std::uint32_t>(sample.const_data_ptr<std::int64_t>()[i])});
    }
  }
  if (const auto promise = lists.empty() ? std::nullopt : read_near_promise(lists)) {
    promise_ = *promise;
    lists_ = std::make_unique<search::Lists>(lists, size(), width_);
  }
}

std::optional<double> NearEmbeddings::recall() const {
  return lists_ ? std::optional<double>(promise_.recall) : std::nullopt;
}

at::Tensor NearEmbeddings::unit_rows(std::int64_t first, std::int64_t count) const {
  auto rows_nD = at::empty({count, width_}, at::kFloat);
  fill_tile(static_cast<std::uint64_t>(first), count, rows_nD.data_ptr<float>());
  return rows_nD;
}

void NearEmbeddings::fill_tile(std::uint64_t first, std::int64_t rows, float* tile) const {
  for (std::uint64_t i = first; i < first + static_cast<std::uint64_t>(rows); ++i, tile += width_) {
    const double scale = norms_[i] > 0 ? 1 / norms_[i] : 0;
    for (std::int64_t c = 0; c < width_; ++c)
      tile[c] = scale > 0 ? static_cast<float>(rows_[i][c] * scale) : 0;
  }
}

std::vector<data::NearPair> NearEmbeddings::pairs(std::int64_t partition, std::int64_t partitions,
                                                  const std::function<void()>& between) const {
  const at::NoGradGuard no_gradients;
  if (lists_) return offered_pairs(partition, partitions, between);
  std::vector<data::NearPair> found;
  data::DisjointSets joined(rows_.size());
  const auto all = static_cast<std::int64_t>(rows_.size()), tiles = (all + kTile - 1) / kTile;
  at::Tensor left_AD = at::zeros({kTile, width_}, at::kFloat), right_BD = at::zeros_like(left_AD);
  at::Tensor product_AB = at::empty({kTile, kTile}, at::kFloat);
  const auto rows_of = [&](std::int64_t tile) { return std::min(kTile, all - tile * kTile); };
  const auto load = [&](std::int64_t tile, at::Tensor& into) {
    fill_tile(static_cast<std::uint64_t>(tile * kTile), rows_of(tile), into.data_ptr<float>());
  };
  const auto least = static_cast<float>(least_cosine_ - kFloatRounding);
  std::int64_t number = 0;
  for (std::int64_t a = 0; a < tiles; ++a) {
    bool loaded = false;
    for (std::int64_t b = a; b < tiles; ++b, ++number) {
      if (number % partitions != partition) continue;
      between();
      if (!loaded) load(a, left_AD);
      loaded = true;
      load(b, right_BD);
      at::mm_out(product_AB, left_AD, right_BD.t());
      const float* product = product_AB.const_data_ptr<float>();
      for (std::int64_t i = 0; i < rows_of(a); ++i)
        for (std::int64_t j = a == b ? i + 1 : 0; j < rows_of(b); ++j) {
          if (product[i * kTile + j] < least) continue;
          const auto one = static_cast<std::uint64_t>(a * kTile + i),
                     other = static_cast<std::uint64_t>(b * kTile + j);
          if (joined.root(one) == joined.root(other) || !are_near(one, other)) continue;
          joined.join(one, other);
          found.emplace_back(one, other);
        }
    }
  }
  std::ranges::sort(found);
  return found;
}

// Every image of the partition asks; a pair is found where either of the two asks for the other.
std::vector<data::NearPair> NearEmbeddings::offered_pairs(std::int64_t partition, std::int64_t partitions,
                                                          const std::function<void()>& between) const {
  std::vector<data::NearPair> found;
  data::DisjointSets joined(rows_.size());
  const std::int64_t asking = (size() - partition + partitions - 1) / partitions;
  for (std::int64_t from = 0; from < asking; from += kTile) {
    between();
    std::vector<std::vector<std::int64_t>> offered(static_cast<std::size_t>(std::min(kTile, asking - from)));
    const auto row_of = [&](std::int64_t i) { return partition + (from + i) * partitions; };
    kernels::over_threads(
        0, static_cast<std::int64_t>(offered.size()), [&](std::int64_t begin, std::int64_t end) {
          const at::NoGradGuard none;
          for (std::int64_t i = begin; i < end; ++i)
            if (norms_[static_cast<std::size_t>(row_of(i))] > 0)
              offered[static_cast<std::size_t>(i)] =
                  lists_->within(unit_rows(row_of(i), 1)[0], promise_.probes, least_cosine_);
        });
    for (std::size_t i = 0; i < offered.size(); ++i)
      for (const std::int64_t candidate : offered[i]) {
        const auto one = static_cast<std::uint64_t>(row_of(static_cast<std::int64_t>(i))),
                   other = static_cast<std::uint64_t>(candidate);
        if (joined.root(one) == joined.root(other) || !are_near(one, other)) continue;
        joined.join(one, other);
        found.emplace_back(std::min(one, other), std::max(one, other));
      }
  }
  std::ranges::sort(found);
  return found;
}

bool NearEmbeddings::are_near(std::uint64_t a, std::uint64_t b) const {
  return measure(a, b) + kRounding >= least_cosine_;
}

double NearEmbeddings::measure(std::uint64_t a, std::uint64_t b) const {
  if (norms_[a] <= 0 || norms_[b] <= 0) return -1;
  return std::min(1.0, dot(rows_[a], rows_[b], width_) / (norms_[a] * norms_[b]));
}

}  // namespace trireme::worker::stages::near_duplicates

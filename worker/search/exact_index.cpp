#include "worker/search/exact_index.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/kernels/row_products.h"
#include "worker/kernels/threads.h"

namespace trireme::worker::search {
namespace {

struct Tile {
  const RowRange* range = nullptr;
  std::int64_t first = 0, count = 0;  // in the range
};

// Without tiles in which nothing is allowed.
std::vector<Tile> tiles_of(const std::vector<RowRange>& ranges, std::int64_t tile_rows,
                           const std::vector<std::uint8_t>* allowed) {
  std::vector<Tile> tiles;
  for (const auto& range : ranges)
    for (std::int64_t first = 0; first < range.rows_nD.size(0); first += tile_rows) {
      const auto count = std::min(tile_rows, range.rows_nD.size(0) - first);
      const auto may_be_found = [&] {
        const auto begin = allowed->begin() + range.first + first;
        return std::find(begin, begin + count, 1) != begin + count;
      };
      if (allowed == nullptr || may_be_found()) tiles.push_back({&range, first, count});
    }
  return tiles;
}

void offer(std::vector<BestRows>& best, const Tile& tile, const at::Tensor& query_QD,
           const std::vector<std::uint8_t>* allowed) {
  const auto rows = tile.range->rows_nD.narrow(0, tile.first, tile.count).to(at::kFloat).contiguous();
  const auto score_QT = products(query_QD, rows);
  const float* score = score_QT.const_data_ptr<float>();
  for (auto& one : best)
    for (std::int64_t i = 0; i < tile.count; ++i, ++score) {
      const std::int64_t row = tile.range->first + tile.first + i;
      if (allowed == nullptr || (*allowed)[static_cast<std::size_t>(row)] != 0) one.offer(row, *score);
    }
}

// One row as it is: a tensor's own way costs more than the row.
void copy_row(const at::Tensor& rows_nD, std::int64_t row, void* to) {
  const std::size_t bytes = static_cast<std::size_t>(rows_nD.size(1)) * rows_nD.element_size();
  std::memcpy(to, static_cast<const char*>(rows_nD.const_data_ptr()) + static_cast<std::size_t>(row) * bytes,
              bytes);
}

}  // namespace

at::Tensor products(const at::Tensor& query_QD, const at::Tensor& rows_TD) {
  const std::int64_t queries = query_QD.size(0), rows = rows_TD.size(0), width = query_QD.size(1);
  if (width % 16 != 0) return query_QD.matmul(rows_TD.t()).contiguous();
  auto out = at::empty({queries, rows}, at::kFloat);
  kernels::row_products({query_QD.const_data_ptr<float>(), rows_TD.const_data_ptr<float>(), nullptr,
                         out.data_ptr<float>(), queries, rows, width},
                        0, rows);
  return out;
}

ExactIndex::ExactIndex(at::Tensor rows_ND)
    : ExactIndex(std::vector<RowRange>{RowRange{0, std::move(rows_ND)}}) {}

ExactIndex::ExactIndex(std::vector<RowRange> ranges) : ranges_(std::move(ranges)) {
  std::int64_t end = 0;
  for (const auto& [first, rows] : ranges_) {
    const bool matrix = rows.dim() == 2 && rows.device().is_cpu() && rows.is_contiguous() &&
                        (rows.scalar_type() == at::kFloat || rows.scalar_type() == at::kHalf);
    if (!matrix || first < end ||
        (width_ != 0 &&
         (rows.size(1) != width_ || rows.scalar_type() != ranges_.front().rows_nD.scalar_type())))
      throw Error(ErrorKind::kInvalid,
                  "an index needs float32 or float16 rows [N, D] of one width and type on the CPU");
    width_ = rows.size(1);
    end = first + rows.size(0);
  }
}

std::int64_t ExactIndex::size() const {
  std::int64_t sum = 0;
  for (const auto& range : ranges_) sum += range.rows_nD.size(0);
  return sum;
}

std::vector<std::vector<Hit>> ExactIndex::search(const at::Tensor& query_QD, std::int64_t k,
                                                 std::int64_t tile_rows,
                                                 const std::vector<std::uint8_t>* allowed) const {
  if (k < 1 || query_QD.dim() != 2 || query_QD.size(1) != width()) {
    throw Error(ErrorKind::kInvalid,
                "search needs k of 1 or more and queries " + std::to_string(width()) + " wide");
  }
  const auto query = query_QD.to(at::kCPU, at::kFloat).contiguous();
  const std::vector<BestRows> none(static_cast<std::size_t>(query.size(0)), BestRows(k));
  std::vector<BestRows> best = none;
  const auto tiles = tiles_of(ranges_, tile_rows, allowed);
  std::mutex mutex;
  kernels::over_threads(
      0, static_cast<std::int64_t>(tiles.size()), [&](std::int64_t begin, std::int64_t end) {
        const at::NoGradGuard no_gradients;
        std::vector<BestRows> here = none;
        for (std::int64_t tile = begin; tile < end; ++tile)
          offer(here, tiles[static_cast<std::size_t>(tile)], query, allowed);
        const std::lock_guard lock(mutex);  // hits are ordered by score and row, whoever comes first
        for (std::size_t q = 0; q < best.size(); ++q) best[q].offer(here[q]);
      });
  std::vector<std::vector<Hit>> hits;
  for (const auto& one : best) hits.push_back(one.sorted());
  return hits;
}

const RowRange* ExactIndex::range_of(std::int64_t row) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), row,
                                      [](std::int64_t r, const RowRange& range) { return r < range.first; });
  if (after == ranges_.begin()) return nullptr;
  const RowRange& range = *std::prev(after);
  return row < range.first + range.rows_nD.size(0) ? &range : nullptr;
}

at::Tensor ExactIndex::row(std::int64_t row) const {
  const RowRange* range = range_of(row);
  return range == nullptr ? at::Tensor() : range->rows_nD[row - range->first].to(at::kFloat);
}

std::vector<float> ExactIndex::scores(const at::Tensor& query_D,
                                      const std::vector<std::int64_t>& rows) const {
  auto gathered = at::zeros({static_cast<std::int64_t>(rows.size()), width_},
                            ranges_.empty() ? at::kFloat : ranges_.front().rows_nD.scalar_type());
  std::vector<bool> there(rows.size());
  auto* to = static_cast<char*>(gathered.data_ptr());
  for (std::size_t i = 0; i < rows.size(); ++i, to += width_ * gathered.element_size()) {
    const RowRange* range = range_of(rows[i]);
    there[i] = range != nullptr;
    if (range != nullptr) copy_row(range->rows_nD, rows[i] - range->first, to);
  }
  const auto score = products(query_D.view({1, width_}).to(at::kFloat).contiguous(), gathered.to(at::kFloat));
  std::vector<float> out(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    out[i] = there[i] ? score.const_data_ptr<float>()[i] : -std::numeric_limits<float>::infinity();
  return out;
}

}  // namespace trireme::worker::search

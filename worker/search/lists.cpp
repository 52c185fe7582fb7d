#include "worker/search/lists.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "common/base/error.h"
#include "worker/search/best_rows.h"
#include "worker/search/code_products.h"
#include "worker/search/exact_index.h"
#include "worker/search/manifest.h"

namespace trireme::worker::search {
namespace {

constexpr std::int64_t kRowsPerList = 64, kRounds = 8, kBlock = 1024;

// Blocks of consecutive rows as float32, in order.
struct Block {
  const RowRange* range;
  std::int64_t first, count;  // in the range
  at::Tensor rows() const { return range->rows_nD.narrow(0, first, count).to(at::kFloat).contiguous(); }
};

std::vector<Block> blocks_of(const std::vector<RowRange>& ranges) {
  std::vector<Block> blocks;
  for (const auto& range : ranges)
    for (std::int64_t first = 0; first < range.rows_nD.size(0); first += kBlock)
      blocks.push_back({&range, first, std::min(kBlock, range.rows_nD.size(0) - first)});
  return blocks;
}

// Every step-th row of all.
at::Tensor sampled(const std::vector<RowRange>& ranges, std::int64_t step) {
  std::vector<at::Tensor> rows;
  for (const auto& range : ranges) {
    const std::int64_t skip = (step - range.first % step) % step;
    if (skip < range.rows_nD.size(0))
      rows.push_back(range.rows_nD.slice(0, skip, std::nullopt, step).to(at::kFloat));
  }
  return at::cat(rows).contiguous();
}

void nearest_lists(const at::Tensor& rows_nD, const at::Tensor& centroid_LD, std::int64_t* list) {
  const auto score_nL = products(rows_nD, centroid_LD);
  const float* score = score_nL.const_data_ptr<float>();
  const std::int64_t lists = centroid_LD.size(0);
  for (std::int64_t row = 0; row < rows_nD.size(0); ++row, score += lists)
    list[row] = std::max_element(score, score + lists) - score;
}

std::vector<std::int64_t> assigned(const at::Tensor& rows_nD, const at::Tensor& centroid_LD) {
  std::vector<std::int64_t> list(static_cast<std::size_t>(rows_nD.size(0)));
  at::parallel_for(0, (rows_nD.size(0) + kBlock - 1) / kBlock, 1, [&](std::int64_t begin, std::int64_t end) {
    const at::NoGradGuard no_gradients;
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block * kBlock, count = std::min(kBlock, rows_nD.size(0) - first);
      nearest_lists(rows_nD.narrow(0, first, count), centroid_LD, list.data() + first);
    }
  });
  return list;
}

// A list that nothing lies in keeps its centroid.
at::Tensor trained_centroids(const at::Tensor& rows_nD, std::int64_t lists,
                             const std::function<void()>& poll) {
  const std::int64_t rows = rows_nD.size(0), width = rows_nD.size(1);
  at::Tensor centroid_LD =
      rows_nD.index_select(0, at::arange(lists, at::kLong).mul(rows).div(lists, "floor")).contiguous();
  for (std::int64_t round = 0; round < kRounds; ++round) {
    poll();
    const auto list = assigned(rows_nD, centroid_LD);
    std::vector<double> sum(static_cast<std::size_t>(lists * width));
    const float* value = rows_nD.const_data_ptr<float>();
    for (const std::int64_t one : list)
      for (std::int64_t i = 0; i < width; ++i) sum[static_cast<std::size_t>(one * width + i)] += *value++;
    auto* const centroid = centroid_LD.data_ptr<float>();
    for (std::int64_t l = 0; l < lists; ++l) {
      const double* const own = sum.data() + l * width;
      const double norm = std::sqrt(std::inner_product(own, own + width, own, 0.0));
      for (std::int64_t i = 0; norm > 0 && i < width; ++i)
        centroid[l * width + i] = static_cast<float>(own[i] / norm);
    }
  }
  return centroid_LD;
}

std::vector<std::int64_t> lists_of_all(const std::vector<Block>& blocks, std::int64_t rows,
                                       const at::Tensor& centroid_LD, const std::function<void()>& poll) {
  std::vector<std::int64_t> list(static_cast<std::size_t>(rows));
  constexpr std::int64_t kAtOnce = 64;
  for (std::size_t from = 0; from < blocks.size(); from += kAtOnce) {
    poll();
    const auto until = std::min(blocks.size(), from + kAtOnce);
    at::parallel_for(static_cast<std::int64_t>(from), static_cast<std::int64_t>(until), 1,
                     [&](std::int64_t begin, std::int64_t end) {
                       const at::NoGradGuard no_gradients;
                       for (std::int64_t i = begin; i < end; ++i) {
                         const Block& block = blocks[static_cast<std::size_t>(i)];
                         nearest_lists(block.rows(), centroid_LD,
                                       list.data() + block.range->first + block.first);
                       }
                     });
  }
  return list;
}

}  // namespace

void write_lists(const io::Path& path, const std::vector<RowRange>& ranges,
                 const std::function<void()>& poll) {
  const at::NoGradGuard no_gradients;
  const std::int64_t rows = ranges.back().first + ranges.back().rows_nD.size(0);
  const std::int64_t width = ranges.back().rows_nD.size(1);
  const auto lists = std::max<std::int64_t>(1, std::llround(2 * std::sqrt(static_cast<double>(rows))));
  const std::int64_t step = std::max<std::int64_t>(1, rows / (lists * kRowsPerList));
  const at::Tensor sample = sampled(ranges, step);
  const at::Tensor centroid_LD = trained_centroids(sample, std::min(lists, sample.size(0)), poll);
  const auto blocks = blocks_of(ranges);
  const auto list = lists_of_all(blocks, rows, centroid_LD, poll);
  auto first = at::zeros({centroid_LD.size(0) + 1}, at::kLong);
  auto* const starts = first.data_ptr<std::int64_t>();
  for (const std::int64_t one : list) ++starts[one + 1];
  std::partial_sum(starts, starts + first.size(0), starts);
  std::vector<std::int64_t> next(starts, starts + first.size(0));
  auto code = at::empty({rows, width}, at::kByte), scale = at::empty({rows}, at::kFloat),
       row_of = at::empty({rows}, at::kInt);
  for (const auto& block : blocks) {
    const at::Tensor values = block.rows();
    for (std::int64_t i = 0; i < block.count; ++i) {
      const std::int64_t row = block.range->first + block.first + i;
      const std::int64_t place = next[static_cast<std::size_t>(list[static_cast<std::size_t>(row)])]++;
      scale.data_ptr<float>()[place] = encode_row(values.const_data_ptr<float>() + i * width, width,
                                                  code.data_ptr<std::uint8_t>() + place * width);
      row_of.data_ptr<std::int32_t>()[place] = static_cast<std::int32_t>(row);
    }
  }
  checkpoint::write_safetensors(
      path, {{"first", first}, {"centroid", centroid_LD}, {"row", row_of}, {"scale", scale}, {"code", code}},
      {{"format", "trireme-lists"}, {"version", "1"}});
}

Lists::Lists(const io::Path& path, std::int64_t rows, std::int64_t width) : file_(path) {
  const auto is = [](const at::Tensor& tensor, at::ScalarType type, at::IntArrayRef sizes) {
    return tensor.scalar_type() == type && tensor.sizes() == sizes;
  };
  centroid_LD_ = file_.load("centroid");
  const at::Tensor first = file_.view("first"), row = file_.view("row"), scale = file_.view("scale"),
                   code = file_.view("code");
  const std::int64_t lists = centroid_LD_.dim() == 2 ? centroid_LD_.size(0) : 0;
  if (lists < 1 || !is(centroid_LD_, at::kFloat, {lists, width}) || !is(first, at::kLong, {lists + 1}) ||
      !is(row, at::kInt, {rows}) || !is(scale, at::kFloat, {rows}) || !is(code, at::kByte, {rows, width}))
    throw Error(ErrorKind::kDamaged, path.string() + " does not fit the rows of its index", kMakeAgain);
  first_ = first.const_data_ptr<std::int64_t>();
  row_ = row.const_data_ptr<std::int32_t>();
  scale_ = scale.const_data_ptr<float>();
  code_ = code.const_data_ptr<std::uint8_t>();
  bool sound = first_[0] == 0 && first_[lists] == rows;
  for (std::int64_t l = 0; l < lists; ++l) sound = sound && first_[l] <= first_[l + 1];
  for (std::int64_t i = 0; i < rows; ++i) sound = sound && row_[i] >= 0 && row_[i] < rows;
  if (!sound) throw Error(ErrorKind::kDamaged, path.string() + " names rows that are not there", kMakeAgain);
}

std::vector<Hit> Lists::candidates(const at::Tensor& query_D, std::int64_t probes,
                                   std::int64_t wanted) const {
  const std::int64_t width = centroid_LD_.size(1);
  const at::Tensor query = query_D.to(at::kFloat).contiguous();
  const auto score_1L = products(query.view({1, width}), centroid_LD_);
  BestRows nearest(std::min(probes, lists()));
  for (std::int64_t l = 0; l < lists(); ++l) nearest.offer(l, score_1L.const_data_ptr<float>()[l]);
  std::vector<std::int8_t> code(static_cast<std::size_t>(width));
  const float scale = encode_query(query.const_data_ptr<float>(), width, code.data());
  const std::int32_t sum = std::accumulate(code.begin(), code.end(), std::int32_t{0});
  BestRows best(wanted);
  std::vector<std::int32_t> product;
  for (const Hit& list : nearest.sorted()) {
    const std::int64_t first = first_[list.row], count = first_[list.row + 1] - first;
    product.resize(static_cast<std::size_t>(count));
    code_products(code_ + first * width, count, width, code.data(), sum, product.data());
    for (std::int64_t i = 0; i < count; ++i)
      best.offer(row_[first + i],
                 static_cast<float>(product[static_cast<std::size_t>(i)]) * scale * scale_[first + i]);
  }
  return best.sorted();
}

}  // namespace trireme::worker::search

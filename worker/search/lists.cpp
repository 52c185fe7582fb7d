#include "worker/search/lists.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "common/base/error.h"
#include "worker/search/code_products.h"
#include "worker/search/exact_index.h"
#include "worker/search/manifest.h"

namespace trireme::worker::search {

struct Lists::Query {
  at::Tensor row_R;
  std::vector<std::int8_t> code;
  float scale = 0;
  std::int32_t sum = 0;
};

Lists::Lists(const io::Path& path, std::int64_t rows, std::int64_t width) : file_(path) {
  const auto is = [](const at::Tensor& tensor, at::ScalarType type, at::IntArrayRef sizes) {
    return tensor.scalar_type() == type && tensor.sizes() == sizes;
  };
  const auto damaged = [&](const char* what) {
    throw Error(ErrorKind::kDamaged, path.string() + what, kMakeAgain);
  };
  centroid_LR_ = file_.load("centroid");
  if (file_.contains("query_map")) query_map_RD_ = file_.load("query_map");
  const at::Tensor first = file_.view("first"), row = file_.view("row"), scale = file_.view("scale"),
                   code = file_.view("code");
  const std::int64_t lists = centroid_LR_.dim() == 2 ? centroid_LR_.size(0) : 0;
  const std::int64_t numbers = query_map_RD_.defined() ? query_map_RD_.size(0) : width;
  if (lists < 1 || !is(centroid_LR_, at::kFloat, {lists, numbers}) || !is(first, at::kLong, {lists + 1}) ||
      !is(row, at::kInt, {rows}) || !is(scale, at::kFloat, {rows}) ||
      (query_map_RD_.defined() && !is(query_map_RD_, at::kFloat, {numbers, width})))
    damaged(" does not fit the rows of its index");
  code_width_ = (numbers + 3) / 4 * 4;
  first_ = first.const_data_ptr<std::int64_t>();
  row_ = row.const_data_ptr<std::int32_t>();
  scale_ = scale.const_data_ptr<float>();
  bool sound = first_[0] == 0 && first_[lists] == rows;
  std::int64_t blocks = 0;
  for (std::int64_t l = 0; l < lists; ++l) {
    sound = sound && first_[l] <= first_[l + 1];
    block_.push_back(blocks);
    blocks += (first_[l + 1] - first_[l] + kBlockRows - 1) / kBlockRows;
  }
  for (std::int64_t i = 0; i < rows; ++i) sound = sound && row_[i] >= 0 && row_[i] < rows;
  if (!sound) damaged(" names rows that are not there");
  if (!is(code, at::kByte, {blocks * kBlockRows, code_width_})) damaged(" does not have one code per row");
  code_ = code.const_data_ptr<std::uint8_t>();
}

Lists::Query Lists::prepared(const at::Tensor& query_D) const {
  Query query{query_D.to(at::kFloat).contiguous(),
              std::vector<std::int8_t>(static_cast<std::size_t>(code_width_))};
  if (query_map_RD_.defined())
    query.row_R = products(query.row_R.view({1, query.row_R.size(0)}), query_map_RD_).view({numbers()});
  query.scale = encode_query(query.row_R.const_data_ptr<float>(), numbers(), code_width_, query.code.data());
  query.sum = std::accumulate(query.code.begin(), query.code.end(), std::int32_t{0});
  return query;
}

std::vector<Hit> Lists::nearest(const Query& query, std::int64_t probes) const {
  const auto score_1L = products(query.row_R.view({1, numbers()}), centroid_LR_);
  BestRows best(std::min(probes, lists()));
  for (std::int64_t l = 0; l < lists(); ++l) best.offer(l, score_1L.const_data_ptr<float>()[l]);
  return best.sorted();
}

// take(position in the order of the lists, score) of every row of the nearest lists.
template <class Take>
void Lists::scan(const Query& query, std::int64_t probes, const Take& take) const {
  std::vector<std::int32_t> product;
  for (const Hit& list : nearest(query, probes)) {
    const std::int64_t first = first_[list.row], count = first_[list.row + 1] - first;
    const std::int64_t blocks = (count + kBlockRows - 1) / kBlockRows;
    product.resize(static_cast<std::size_t>(blocks * kBlockRows));
    code_products(code_ + block_[static_cast<std::size_t>(list.row)] * kBlockRows * code_width_, blocks,
                  code_width_, query.code.data(), query.sum, product.data());
    for (std::int64_t i = 0; i < count; ++i)
      take(first + i,
           static_cast<float>(product[static_cast<std::size_t>(i)]) * query.scale * scale_[first + i]);
  }
}

std::vector<Hit> Lists::candidates(const at::Tensor& query_D, std::int64_t probes,
                                   std::int64_t wanted) const {
  BestRows best(wanted);
  scan(prepared(query_D), probes, [&](std::int64_t at, float score) {
    if (score >= best.least()) best.offer(row_[at], score);
  });
  return best.sorted();
}

// Of x = s c + e, every |e_i| at most s / 2, and the query the same way: their product and that of the codes
// differ by at most (s_x |q|_1 + s_q |s_x c|_1) / 2.
std::vector<std::int64_t> Lists::within(const at::Tensor& query_D, std::int64_t probes, double least) const {
  if (query_map_RD_.defined())
    throw Error(ErrorKind::kInternal, "codes of fewer numbers than rows have bound no product");
  const Query query = prepared(query_D);
  const float root = std::sqrt(static_cast<float>(numbers()));
  const auto bound = static_cast<float>(least) - 1e-5F;
  std::vector<std::int64_t> found;
  scan(query, probes, [&](std::int64_t at, float score) {
    const float one_norm = root * (1 + root * scale_[at] / 2);  // of a row's code, at most
    if (score + (scale_[at] * root + query.scale * one_norm) / 2 >= bound) found.push_back(row_[at]);
  });
  return found;
}

std::int64_t Lists::rank_of(const at::Tensor& query_D, std::int64_t list) const {
  const auto score_1L = products(prepared(query_D).row_R.view({1, numbers()}), centroid_LR_);
  const float* score = score_1L.const_data_ptr<float>();
  std::int64_t nearer = 0;
  for (std::int64_t l = 0; l < lists(); ++l) nearer += is_better({l, score[l]}, {list, score[list]});
  return nearer;
}

std::vector<std::int32_t> Lists::list_of_rows() const {
  std::vector<std::int32_t> list(static_cast<std::size_t>(first_[lists()]));
  for (std::int64_t l = 0; l < lists(); ++l)
    for (std::int64_t i = first_[l]; i < first_[l + 1]; ++i)
      list[static_cast<std::size_t>(row_[i])] = static_cast<std::int32_t>(l);
  return list;
}

}  // namespace trireme::worker::search

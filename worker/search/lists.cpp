#include "worker/search/lists.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "common/base/error.h"
#include "worker/search/code_products.h"
#include "worker/search/exact_index.h"
#include "worker/search/manifest.h"

namespace trireme::worker::search {

namespace {

constexpr std::int64_t kFirstPerCandidate = 8;  // rows found by the first numbers for one found by all
// So many lists by few numbers, of which all numbers choose.
constexpr std::int64_t kListsPerProbe = 4, kLeastLists = 64;

// The `most` best of `hits`, in no order.
void keep_best(std::vector<Hit>& hits, std::int64_t most) {
  if (static_cast<std::int64_t>(hits.size()) <= most) return;
  std::nth_element(hits.begin(), hits.begin() + most, hits.end(), is_better);
  hits.resize(static_cast<std::size_t>(most));
}

}  // namespace

struct Lists::Query {
  at::Tensor row_D, row_R;
  std::vector<std::int8_t> code;
  QueryCode first, rest;
};

// Scores of the rows of some lists, by the numbers that are read of every row.
struct Lists::Scan {
  struct Piece {
    std::int64_t block, first, count,
        at;  // its first block; positions in the order of the lists; of its scores
  };
  std::vector<Piece> pieces;
  std::unique_ptr<float[]> score;
  std::int64_t rows = 0;

  template <class Take>
  void each(const Take& take) const {
    for (const Piece& piece : pieces)
      for (std::int64_t i = 0; i < piece.count; ++i) take(piece.first + i, score[piece.at + i]);
  }
  // Positions with the best scores: at least `wanted`, or all.
  std::vector<Hit> best(std::int64_t wanted) const;
};

// A sample says from which score on; that they are enough is seen afterwards.
std::vector<Hit> Lists::Scan::best(std::int64_t wanted) const {
  std::vector<Hit> found;
  float least = -std::numeric_limits<float>::infinity();
  if (const std::int64_t step = rows / 2048; rows > 2 * wanted && step > 1) {
    std::vector<float> some;
    std::int64_t next = 0, seen = 0;
    for (const Piece& piece : pieces)
      for (std::int64_t i = 0; i < piece.count; ++i, ++seen)
        if (seen == next) some.push_back(score[piece.at + i]), next += step;
    const std::int64_t place = std::min<std::int64_t>(wanted * 5 / (4 * step) + 16, std::ssize(some) - 1);
    std::nth_element(some.begin(), some.begin() + place, some.end(), std::greater());
    least = some[static_cast<std::size_t>(place)];
  }
  for (;;) {
    each([&](std::int64_t at, float value) {
      if (value >= least) found.push_back({at, value});
    });
    if (std::ssize(found) >= std::min(wanted, rows)) return found;
    found.clear();
    least = -std::numeric_limits<float>::infinity();
  }
}

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
  if (file_.contains("rest"))
    rest_width_ = file_.view("rest").dim() == 2 ? file_.view("rest").size(1) : numbers;
  if (rest_width_ >= numbers) damaged(" does not have one code per row");
  first_width_ = (numbers - rest_width_ + 3) / 4 * 4;
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
  if (!is(code, at::kByte, {blocks * kBlockRows, first_width_}) ||
      (rest_width_ > 0 && !is(file_.view("rest"), at::kByte, {rows, rest_width_})))
    damaged(" does not have one code per row");
  code_ = code.const_data_ptr<std::uint8_t>();
  if (file_.contains("centroid_whole")) {
    centroid_LD_ = file_.load("centroid_whole");
    if (!is(centroid_LD_, at::kFloat, {lists, width})) damaged(" does not have one centroid per list");
  }
  if (rest_width_ > 0) rest_ = file_.view("rest").const_data_ptr<std::uint8_t>();
}

Lists::Query Lists::prepared(const at::Tensor& query_D) const {
  const at::Tensor row_D = query_D.to(at::kFloat).contiguous();
  Query query{
      row_D, row_D, std::vector<std::int8_t>(static_cast<std::size_t>(first_width_ + rest_width_)), {}, {}};
  if (query_map_RD_.defined())
    query.row_R = products(row_D.view({1, row_D.size(0)}), query_map_RD_).view({numbers()});
  const float scale = encode_query(query.row_R.const_data_ptr<float>(), numbers(), query.code.data());
  const auto part = [&](std::int64_t from, std::int64_t count) {
    const std::int8_t* const number = query.code.data() + from;
    return QueryCode{number, std::accumulate(number, number + count, std::int32_t{0}), scale};
  };
  query.first = part(0, first_width_);
  query.rest = part(first_width_, rest_width_);
  return query;
}

std::vector<Hit> Lists::nearest(const Query& query, std::int64_t probes) const {
  const auto score_1L = products(query.row_R.view({1, numbers()}), centroid_LR_);
  const std::int64_t wanted = std::min(probes, lists());
  const bool in_two_steps = centroid_LD_.defined() && wanted < lists();
  BestRows best(in_two_steps ? std::min(std::max(kLeastLists, kListsPerProbe * wanted), lists()) : wanted);
  for (std::int64_t l = 0; l < lists(); ++l) best.offer(l, score_1L.const_data_ptr<float>()[l]);
  std::vector<Hit> found = best.sorted();
  if (!in_two_steps) return found;
  auto list = at::empty({std::ssize(found)}, at::kLong);
  for (std::size_t i = 0; i < found.size(); ++i) list.data_ptr<std::int64_t>()[i] = found[i].row;
  const auto score_1F =
      products(query.row_D.view({1, query.row_D.size(0)}), centroid_LD_.index_select(0, list));
  for (std::size_t i = 0; i < found.size(); ++i) found[i].score = score_1F.const_data_ptr<float>()[i];
  std::sort(found.begin(), found.end(), is_better);
  found.resize(static_cast<std::size_t>(wanted));
  return found;
}

Lists::Scan Lists::scanned(const Query& query, std::int64_t probes) const {
  Scan scan;
  std::int64_t room = 0;
  for (const Hit& list : nearest(query, probes)) {
    const std::int64_t first = first_[list.row], count = first_[list.row + 1] - first;
    scan.pieces.push_back({block_[static_cast<std::size_t>(list.row)], first, count, room});
    scan.rows += count;
    room += (count + kBlockRows - 1) / kBlockRows * kBlockRows;
  }
  scan.score = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(room));
  for (const auto& [block, first, count, at] : scan.pieces)
    block_scores(code_ + block * kBlockRows * first_width_, count, first_width_, query.first, scale_ + first,
                 scan.score.get() + at);
  return scan;
}

std::vector<Hit> Lists::candidates(const at::Tensor& query_D, std::int64_t probes,
                                   std::int64_t wanted) const {
  const Query query = prepared(query_D);
  const std::int64_t looked_at = rest_ == nullptr ? wanted : kFirstPerCandidate * wanted;
  auto hits = scanned(query, probes).best(looked_at);
  keep_best(hits, looked_at);
  if (rest_ != nullptr)
    for (Hit& hit : hits)
      hit.score += static_cast<float>(row_product(rest_ + hit.row * rest_width_, rest_width_, query.rest)) *
                   query.rest.scale * scale_[hit.row];
  for (Hit& hit : hits) hit.row = row_[hit.row];
  keep_best(hits, wanted);
  std::sort(hits.begin(), hits.end(), is_better);
  return hits;
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
  scanned(query, probes).each([&](std::int64_t at, float score) {
    const float one_norm = root * (1 + root * scale_[at] / 2);  // of a row's code, at most
    if (score + (scale_[at] * root + query.first.scale * one_norm) / 2 >= bound) found.push_back(row_[at]);
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

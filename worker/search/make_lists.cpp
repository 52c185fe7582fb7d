// From rows to the file of their lists.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/kernels/threads.h"
#include "worker/search/code_products.h"
#include "worker/search/exact_index.h"
#include "worker/search/lists.h"
#include "worker/search/reduction.h"

namespace trireme::worker::search {
namespace {

constexpr std::int64_t kRowsPerList = 64, kRounds = 8, kBlock = 1024, kBlocksAtOnce = 64;
constexpr double kMostMissed = 0.003;  // the hundred best codes then hold 99.7 % of the ten best rows
// The eight hundred best by the numbers that are read of every row then hold 99 % of them.
constexpr double kFirstMissed = 0.015;

// Work on blocks of rows, over threads; `poll` is called now and then.
void for_blocks(std::int64_t rows, const std::function<void()>& poll,
                const std::function<void(std::int64_t first, std::int64_t count)>& work) {
  const std::int64_t blocks = (rows + kBlock - 1) / kBlock;
  for (std::int64_t from = 0; from < blocks; from += kBlocksAtOnce) {
    poll();
    kernels::over_threads(from, std::min(blocks, from + kBlocksAtOnce),
                          [&](std::int64_t begin, std::int64_t end) {
                            const at::NoGradGuard no_gradients;
                            for (std::int64_t block = begin; block < end; ++block)
                              work(block * kBlock, std::min(kBlock, rows - block * kBlock));
                          });
  }
}

// Every step-th row of all.
at::Tensor sampled(const RowSource& source, std::int64_t step, const std::function<void()>& poll) {
  const std::int64_t wanted = (source.rows + step - 1) / step;
  auto rows = at::empty({wanted, source.width}, at::kFloat);
  for_blocks(wanted, poll, [&](std::int64_t first, std::int64_t count) {
    if (step == 1) {
      rows.narrow(0, first, count).copy_(source.read(first, count));
      return;
    }
    for (std::int64_t i = first; i < first + count; ++i) rows[i].copy_(source.read(i * step, 1)[0]);
  });
  return rows;
}

// The first place of the largest of `count` values; sixteen lanes, as there are a list's worth of values for
// every row.
std::int64_t place_of_largest(const float* value, std::int64_t count) {
  constexpr std::int64_t kLanes = 16;
  using Values = float __attribute__((vector_size(4 * kLanes)));
  using Places = std::int32_t __attribute__((vector_size(4 * kLanes)));
  if (count < kLanes) return std::max_element(value, value + count) - value;
  Values best;
  Places at{}, here{};
  std::memcpy(&best, value, sizeof best);
  for (std::int64_t i = kLanes; i + kLanes <= count; i += kLanes) {
    Values some;
    std::memcpy(&some, value + i, sizeof some);
    here += 1;
    at = some > best ? here : at;
    best = some > best ? some : best;
  }
  std::int64_t place = -1;
  float largest = 0;
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    const std::int64_t own = at[lane] * kLanes + lane;
    if (place < 0 || best[lane] > largest || (best[lane] == largest && own < place))
      largest = best[lane], place = own;
  }
  for (std::int64_t i = count / kLanes * kLanes; i < count; ++i)
    if (value[i] > largest) largest = value[i], place = i;
  return place;
}

void nearest_lists(const at::Tensor& rows_nD, const at::Tensor& centroid_LD, std::int64_t* list) {
  const auto score_nL = products(rows_nD, centroid_LD);
  const float* score = score_nL.const_data_ptr<float>();
  const std::int64_t lists = centroid_LD.size(0);
  for (std::int64_t row = 0; row < rows_nD.size(0); ++row, score += lists)
    list[row] = place_of_largest(score, lists);
}

std::vector<std::int64_t> assigned(const at::Tensor& rows_nD, const at::Tensor& centroid_LD) {
  std::vector<std::int64_t> list(static_cast<std::size_t>(rows_nD.size(0)));
  kernels::over_threads(
      0, (rows_nD.size(0) + kBlock - 1) / kBlock, [&](std::int64_t begin, std::int64_t end) {
        const at::NoGradGuard no_gradients;
        for (std::int64_t block = begin; block < end; ++block) {
          const std::int64_t first = block * kBlock, count = std::min(kBlock, rows_nD.size(0) - first);
          nearest_lists(rows_nD.narrow(0, first, count), centroid_LD, list.data() + first);
        }
      });
  return list;
}

// k-means by inner product. Means keep their length: that of rows that differ is short, and q . mean is the
// mean product of q with the list's rows, which tells queries from elsewhere (texts among pictures) better
// where theirs lie than the direction alone. A list that nothing lies in keeps its centroid.
at::Tensor trained_centroids(const at::Tensor& rows_nD, std::int64_t lists,
                             const std::function<void()>& poll) {
  const std::int64_t rows = rows_nD.size(0), width = rows_nD.size(1);
  at::Tensor centroid_LD =
      rows_nD.index_select(0, at::arange(lists, at::kLong).mul(rows).div(lists, "floor")).contiguous();
  for (std::int64_t round = 0; round < kRounds; ++round) {
    poll();
    const auto list = assigned(rows_nD, centroid_LD);
    std::vector<double> sum(static_cast<std::size_t>(lists * width)),
        rows_of(static_cast<std::size_t>(lists));
    const float* value = rows_nD.const_data_ptr<float>();
    for (const std::int64_t one : list) {
      ++rows_of[static_cast<std::size_t>(one)];
      for (std::int64_t i = 0; i < width; ++i) sum[static_cast<std::size_t>(one * width + i)] += *value++;
    }
    auto* const centroid = centroid_LD.data_ptr<float>();
    for (std::int64_t l = 0; l < lists; ++l)
      for (std::int64_t i = 0; rows_of[static_cast<std::size_t>(l)] > 0 && i < width; ++i)
        centroid[l * width + i] = static_cast<float>(sum[static_cast<std::size_t>(l * width + i)] /
                                                     rows_of[static_cast<std::size_t>(l)]);
  }
  return centroid_LD;
}

std::vector<std::int64_t> lists_of_all(const RowSource& source, const at::Tensor& centroid_LD,
                                       const std::function<void()>& poll) {
  std::vector<std::int64_t> list(static_cast<std::size_t>(source.rows));
  for_blocks(source.rows, poll, [&](std::int64_t first, std::int64_t count) {
    nearest_lists(source.read(first, count), centroid_LD, list.data() + first);
  });
  return list;
}

// Where rows lie: lists one after another, each from a new block of codes on.
struct Order {
  at::Tensor first, row;                  // int64 [L + 1], int32 [N]
  std::vector<std::int64_t> place, code;  // of every row: in `row`, among the codes
  std::int64_t codes = 0;
};

Order ordered(const std::vector<std::int64_t>& list, std::int64_t lists) {
  const auto rows = static_cast<std::int64_t>(list.size());
  Order order{at::zeros({lists + 1}, at::kLong), at::empty({rows}, at::kInt), {}, {}, 0};
  auto* const first = order.first.data_ptr<std::int64_t>();
  for (const std::int64_t one : list) ++first[one + 1];
  std::partial_sum(first, first + lists + 1, first);
  std::vector<std::int64_t> next(first, first + lists), shift(static_cast<std::size_t>(lists));
  for (std::int64_t l = 0; l < lists; ++l) {
    shift[static_cast<std::size_t>(l)] = order.codes - first[l];
    order.codes += (first[l + 1] - first[l] + kBlockRows - 1) / kBlockRows * kBlockRows;
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto of = static_cast<std::size_t>(list[static_cast<std::size_t>(row)]);
    order.place.push_back(next[of]++);
    order.code.push_back(order.place.back() + shift[of]);
    order.row.data_ptr<std::int32_t>()[order.place.back()] = static_cast<std::int32_t>(row);
  }
  return order;
}

}  // namespace

RowSource source_of(const std::vector<RowRange>& ranges) {
  const RowRange& last = ranges.back();
  const auto read = [ranges](std::int64_t first, std::int64_t count) {
    std::vector<at::Tensor> pieces;
    auto range = std::upper_bound(ranges.begin(), ranges.end(), first,
                                  [](std::int64_t row, const RowRange& one) { return row < one.first; });
    for (--range; count > 0; ++range) {
      const std::int64_t skip = first - range->first, some = std::min(count, range->rows_nD.size(0) - skip);
      if (some < 1) continue;
      pieces.push_back(range->rows_nD.narrow(0, skip, some).to(at::kFloat));
      first += some;
      count -= some;
    }
    return (pieces.size() == 1 ? pieces.front() : at::cat(pieces)).contiguous();
  };
  return {last.first + last.rows_nD.size(0), last.rows_nD.size(1), read};
}

void write_lists(const io::Path& path, const RowSource& source, const ListsPlan& plan,
                 const std::function<void()>& poll, std::map<std::string, std::string> metadata) {
  const at::NoGradGuard no_gradients;
  const std::int64_t rows = source.rows, width = source.width;
  if (rows > std::numeric_limits<std::int32_t>::max())
    throw Error(ErrorKind::kInvalid, std::to_string(rows) + " rows are too many for the lists of one index",
                "index data sets of at most 2147483647 samples, or choose \"search\": \"exact\"");
  const auto wanted =
      std::max<std::int64_t>(1, plan.lists.value_or(std::llround(2 * std::sqrt(static_cast<double>(rows)))));
  const at::Tensor sample = sampled(source, std::max<std::int64_t>(1, rows / (wanted * kRowsPerList)), poll);
  at::Tensor centroid = trained_centroids(sample, std::min(wanted, sample.size(0)), poll);
  Reduction few;
  if (plan.queries_QD.defined()) few = learnt_reduction(sample, plan.queries_QD, kMostMissed, kFirstMissed);
  const Order order = ordered(lists_of_all(source, centroid, poll), centroid.size(0));
  const bool reduced = few.row_map_RD.defined();
  const std::int64_t numbers = reduced ? few.row_map_RD.size(0) : width;
  const std::int64_t first = reduced ? few.first : numbers, first_width = (first + 3) / 4 * 4;
  const auto short_of = [&](const at::Tensor& rows_nD) {
    return reduced ? products((rows_nD - few.mean_D).contiguous(), few.row_map_RD) : rows_nD;
  };
  auto code = at::full({order.codes, first_width}, 128, at::kByte), scale = at::empty({rows}, at::kFloat);
  auto rest = at::empty({rows, numbers - first}, at::kByte);
  for_blocks(rows, poll, [&](std::int64_t begin, std::int64_t count) {
    const at::Tensor values = short_of(source.read(begin, count));
    std::vector<std::uint8_t> one(static_cast<std::size_t>(numbers));
    for (std::int64_t i = 0; i < count; ++i) {
      const auto row = static_cast<std::size_t>(begin + i);
      const std::int64_t place = order.place[row];
      scale.data_ptr<float>()[place] =
          encode_row(values.const_data_ptr<float>() + i * numbers, numbers, one.data());
      for (std::int64_t n = 0; n < first; ++n)
        code.data_ptr<std::uint8_t>()[code_place(order.code[row], n, first_width)] =
            one[static_cast<std::size_t>(n)];
      std::copy(one.begin() + first, one.end(), rest.data_ptr<std::uint8_t>() + place * (numbers - first));
    }
  });
  std::vector<std::pair<std::string, at::Tensor>> tensors = {{"first", order.first},
                                                             {"centroid", short_of(centroid)},
                                                             {"row", order.row},
                                                             {"scale", scale},
                                                             {"code", code}};
  if (first < numbers) tensors.emplace_back("rest", rest);
  if (reduced) {
    tensors.insert(tensors.begin() + 1, {"query_map", few.query_map_RD});
    tensors.emplace_back("centroid_whole", centroid);
  }
  metadata.insert({{"format", "trireme-lists"}, {"version", "3"}});
  checkpoint::write_safetensors(path, tensors, metadata);
}

}  // namespace trireme::worker::search

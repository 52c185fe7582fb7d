// The approximate half of an index: every row lies, as 8-bit codes, in the list of its nearest centroid, and
// a query looks at the lists whose centroids are nearest to it. Codes and centroids may have fewer numbers
// than rows (reduction.h), the first of which tell rows apart best: those are read of every row, the others
// of the rows that they find. Candidates are scored exactly by whoever has the rows. Layout in
// jobs/protocol/FORMAT.md. Legend: N rows, L lists, D width, R numbers of a code, F of them read of every
// row.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "common/io/file.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/search/hit.h"

namespace trireme::worker::search {

struct RowRange;

// What lists are made of.
struct RowSource {
  std::int64_t rows = 0, width = 0;
  std::function<at::Tensor(std::int64_t first, std::int64_t count)> read;  // float32 [count, D]; any thread
};
RowSource source_of(const std::vector<RowRange>& ranges);  // as of ExactIndex, all rows there

struct ListsPlan {
  std::optional<std::int64_t> lists;  // null: about 2 sqrt(N)
  // Queries as they will come [Q, D]: codes then have as few numbers as serve them. Undefined: all numbers.
  at::Tensor queries_QD;
};

// k-means by inner product (means keep their length) on at most 64 rows per list, then every row into the
// list of the largest product. The same bytes for the same
// rows, whatever the number of threads. `poll` is called between blocks and may throw. `metadata` stands in
// the file's head. Throws kInvalid for 2^31 rows or more.
void write_lists(const io::Path& path, const RowSource& source, const ListsPlan& plan,
                 const std::function<void()>& poll, std::map<std::string, std::string> metadata = {});

class Lists {
 public:
  // Mapped. Throws kDamaged when the file does not fit `rows` rows of that width.
  Lists(const io::Path& path, std::int64_t rows, std::int64_t width);

  std::int64_t lists() const { return centroid_LR_.size(0); }
  std::int64_t numbers() const { return centroid_LR_.size(1); }  // of a code
  // The `wanted` rows with the best codes in the `probes` nearest lists, best first; scores are those of the
  // codes. `query_D`: float32.
  std::vector<Hit> candidates(const at::Tensor& query_D, std::int64_t probes, std::int64_t wanted) const;
  // The rows in the `probes` nearest lists whose product with the query is `least` or more, and those of
  // which rounding to codes leaves that open. For rows and query of norm 1 or 0, all numbers in their codes
  // (else kInternal).
  std::vector<std::int64_t> within(const at::Tensor& query_D, std::int64_t probes, double least) const;

  // How many lists are nearer to the query than this one.
  std::int64_t rank_of(const at::Tensor& query_D, std::int64_t list) const;
  std::vector<std::int32_t> list_of_rows() const;
  const std::map<std::string, std::string>& metadata() const { return file_.metadata(); }

 private:
  struct Query;
  struct Scan;
  Query prepared(const at::Tensor& query_D) const;
  std::vector<Hit> nearest(const Query& query, std::int64_t probes) const;
  Scan scanned(const Query& query, std::int64_t probes) const;

  checkpoint::SafetensorsFile file_;
  at::Tensor centroid_LR_, query_map_RD_;  // the latter undefined: as it is
  at::Tensor centroid_LD_;                 // with all numbers; undefined: those are all, or an older file
  std::int64_t first_width_ = 0;           // F up to a multiple of 4
  std::int64_t rest_width_ = 0;            // R - F
  const std::int64_t* first_ = nullptr;    // L + 1
  std::vector<std::int64_t> block_;        // first block of each list
  const std::int32_t* row_ = nullptr;      // N
  const float* scale_ = nullptr;           // N
  const std::uint8_t* code_ = nullptr;     // blocks of F numbers
  const std::uint8_t* rest_ = nullptr;     // [N, R - F]
};

}  // namespace trireme::worker::search

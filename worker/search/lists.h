// The approximate half of an index: every row lies, as 8-bit codes, in the list of its nearest centroid, and
// a query looks at the lists whose centroids are nearest to it. Candidates are scored exactly by whoever has
// the rows. Layout in jobs/protocol/FORMAT.md. Legend: N rows, L lists, D width.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "common/io/file.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/search/hit.h"

namespace trireme::worker::search {

struct RowRange;

// Spherical k-means on at most 64 rows per list, then every row into its list; about 2 sqrt(N) lists. The
// same bytes for the same rows, whatever the number of threads. `poll` is called between blocks and may
// throw. `ranges` as of ExactIndex, all rows there.
void write_lists(const io::Path& path, const std::vector<RowRange>& ranges,
                 const std::function<void()>& poll);

class Lists {
 public:
  // Mapped. Throws kDamaged when the file does not fit `rows` rows of that width.
  Lists(const io::Path& path, std::int64_t rows, std::int64_t width);

  std::int64_t lists() const { return centroid_LD_.size(0); }
  // The `wanted` rows with the best codes in the `probes` nearest lists, best first; scores are those of the
  // codes. `query_D`: float32.
  std::vector<Hit> candidates(const at::Tensor& query_D, std::int64_t probes, std::int64_t wanted) const;

 private:
  checkpoint::SafetensorsFile file_;
  at::Tensor centroid_LD_;
  const std::int64_t* first_ = nullptr;  // L + 1
  const std::int32_t* row_ = nullptr;    // N
  const float* scale_ = nullptr;         // N
  const std::uint8_t* code_ = nullptr;   // N x D
};

}  // namespace trireme::worker::search

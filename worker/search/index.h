// An index folder, opened: checked, mapped and searched. Segments that are damaged are left out and named;
// the rest keeps its row numbers. Thread-safe after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/search/exact_index.h"
#include "worker/search/lists.h"
#include "worker/search/manifest.h"
#include "worker/search/row_filter.h"
#include "worker/search/segment.h"

namespace trireme::worker::search {

// What a query was made of: its neighbours are found in lists that were measured for such queries.
using jobs::MadeOf;

class Index {
 public:
  // A run folder (that holds index/) or an index folder. Throws kNotFound when there is none, kDamaged when
  // the manifest, the model, or every segment is not what was written.
  explicit Index(const io::Path& run_or_index);

  const io::Path& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }
  io::Path model() const { return folder_ / "model"; }
  // Files that are not what was written, relative to the folder.
  const std::vector<std::string>& damaged() const { return damaged_; }
  std::int64_t rows() const { return manifest_.items(); }

  // The k best rows of every query [Q, D]. `conditions`: as row_filter.h; kInvalid for a column that the
  // index does not have. Exact when asked for, with conditions, or where the index is.
  std::vector<std::vector<Hit>> search(const at::Tensor& query_QD, std::int64_t k, MadeOf made, bool exact,
                                       const std::vector<Condition>& conditions) const;
  // The measured recall of such a search; 1 for an exact one, nothing where it was not measured.
  std::optional<double> promise(MadeOf made, bool exact, const std::vector<Condition>& conditions) const;
  // Of `hits`, best first, those that are no nearer than `cosine` to one before; at most `wanted`.
  std::vector<Hit> distinct(const std::vector<Hit>& hits, double cosine, std::int64_t wanted) const;

  at::Tensor row(std::int64_t row) const {
    return exact_.row(row);
  }  // float32 [D]; undefined: cannot be found
  Item item(std::int64_t row) const;
  const ShardPlace& shard_of(std::int64_t row) const;
  // An item's name as long as its segment is indexed, whatever else comes or goes; the row that it names.
  std::string id_of(std::int64_t row) const;
  std::optional<std::int64_t> row_of(const std::string& id) const;

 private:
  std::size_t segment_of(std::int64_t row) const;
  std::vector<std::uint8_t> allowed(const std::vector<Condition>& conditions) const;
  std::int64_t probes(MadeOf made) const;

  io::Path folder_;
  Manifest manifest_;
  std::vector<std::string> damaged_;
  std::vector<std::int64_t> first_;                 // row of each segment
  std::vector<std::unique_ptr<Segment>> segments_;  // null: damaged
  ExactIndex exact_;
  std::unique_ptr<Lists> lists_;  // null: exact
};

}  // namespace trireme::worker::search

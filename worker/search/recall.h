// What an approximate index may promise: its recall against the exact search, measured on queries that were
// held back.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/search/exact_index.h"
#include "worker/search/lists.h"
#include "worker/search/manifest.h"

namespace trireme::worker::search {

// The fewest lists, in steps of about a quarter, whose recall@10 is `least_recall` or more, and that recall.
// `own`: per query the row that is no answer to it, -1 for none. Ten rows are looked for, or as many as there
// are. No queries: nothing is promised, and every list is looked at.
Promise measured_promise(const ExactIndex& exact, const Lists& lists, const at::Tensor& query_QD,
                         const std::vector<std::int64_t>& own, double least_recall,
                         const std::function<void()>& poll);

// The `k` best of the lists' candidates by their exact scores. Rows that cannot be found are left out.
std::vector<Hit> ranked_candidates(const ExactIndex& exact, const Lists& lists, const at::Tensor& query_D,
                                   std::int64_t probes, std::int64_t k);

}  // namespace trireme::worker::search

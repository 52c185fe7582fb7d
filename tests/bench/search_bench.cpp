// Our half of tests/bench/search_peer.py: reads rows and queries (safetensors: rows, image, text, and learn,
// of which codes learn how queries lie), makes lists, then answers lines "image|text PROBES SECONDS" with the
// rows found and queries a second, on one thread.
#include <ctime>
#include <iostream>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>

#include "common/io/folder.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/search/recall.h"

using namespace trireme;
using namespace trireme::worker::search;

namespace {

double since(std::clock_t start) {  // of the processor
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

nlohmann::json measured(const ExactIndex& exact, const Lists& lists, const at::Tensor& queries,
                        std::int64_t probes, double seconds) {
  nlohmann::json rows = nlohmann::json::array();
  std::int64_t count = 0;
  const auto start = std::clock();
  for (; since(start) < seconds || count < queries.size(0); ++count) {
    const auto hits = ranked_candidates(exact, lists, queries[count % queries.size(0)], probes, 10);
    if (count >= queries.size(0)) continue;
    rows.push_back(nlohmann::json::array());
    for (const Hit& hit : hits) rows.back().push_back(hit.row);
  }
  return {{"per_second", static_cast<double>(count) / since(start)}, {"rows", rows}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  at::set_num_threads(1);
  const at::NoGradGuard no_gradients;
  const worker::checkpoint::SafetensorsFile file(argv[1]);
  const at::Tensor rows = file.load("rows").to(at::kHalf);
  const io::Path path = io::Path(argv[2]) / "lists.safetensors";
  const auto start = std::clock();
  ListsPlan plan;
  if (file.contains("learn")) plan.queries_QD = file.load("learn");
  write_lists(path, source_of({{0, rows}}), plan, [] {});
  const ExactIndex exact(rows);
  const Lists lists(path, rows.size(0), rows.size(1));
  std::cout << nlohmann::json{{"seconds", since(start)},
                              {"lists", lists.lists()},
                              {"numbers", lists.numbers()},
                              {"bytes", io::size_of(path) + static_cast<std::uint64_t>(rows.nbytes())}}
            << std::endl;
  std::string way;
  std::int64_t probes = 0;
  double seconds = 0;
  while (std::cin >> way >> probes >> seconds)
    std::cout << measured(exact, lists, file.load(way), probes, seconds) << std::endl;
  return 0;
}

// An approximate index of many rows: how long its lists take, what a process that searches has in memory, and
// how long queries take that come at a steady rate. Rows are drawn, two towers of one meaning as in
// search_peer.py.
//   search_scale_bench ROWS WIDTH FOLDER THREADS [SECONDS]
// Rows and lists that are there are used: a second call's memory is that of a process that serves. SECONDS 0:
// rows are drawn, nothing else.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>

#include "common/io/folder.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/search/recall.h"

using namespace trireme;
using namespace trireme::worker;
using namespace trireme::worker::search;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::int64_t kSegment = 100000, kMeaning = 256, kTopics = 2000, kHeldBack = 500;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

at::Tensor unit(const at::Tensor& rows) {
  return rows / rows.norm(2, {1}, true);
}

struct Towers {
  explicit Towers(std::int64_t width) {
    at::manual_seed(0);
    topics = 1.2 * at::randn({kTopics, kMeaning});
    spectrum = at::arange(1, kMeaning + 1).to(at::kFloat).pow(-0.5);
    image_map = unit(at::randn({kMeaning, width}));
    text_map = unit(image_map + 0.25 * unit(at::randn({kMeaning, width})));
    image_gap = unit(at::randn({1, width}));
    text_gap = unit(0.3 * image_gap + at::randn({1, width}) / std::sqrt(static_cast<double>(width)));
  }
  std::pair<at::Tensor, at::Tensor> draw(std::int64_t rows, std::uint64_t seed) const {
    at::manual_seed(seed);
    const auto noise = [&] { return at::randn({rows, kMeaning}); };
    const at::Tensor seen =
        topics.index_select(0, at::randint(0, kTopics, {rows}, at::kLong)) + 0.9 * noise();
    const auto scale = spectrum.norm() * 1.5;
    return {unit(((seen + 0.45 * noise()) * spectrum).matmul(image_map) / scale + 0.9 * image_gap),
            unit(((seen + 0.9 * noise()) * spectrum).matmul(text_map) / scale + 0.9 * text_gap)};
  }
  at::Tensor topics, spectrum, image_map, text_map, image_gap, text_gap;
};

double anonymous_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "RssAnon:") {
      double kb = 0;
      status >> kb;
      return kb / 1024;
    }
  return 0;
}

nlohmann::json paced(const ExactIndex& exact, const Lists& lists, const at::Tensor& queries,
                     std::int64_t probes, double per_second, double seconds) {
  std::vector<double> ms;
  const auto start = Clock::now();
  for (std::int64_t i = 0; since(start) < seconds; ++i) {
    const auto due = start + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(static_cast<double>(i) / per_second));
    while (Clock::now() < due) {  // no thread wakes late
    }
    ranked_candidates(exact, lists, queries[i % queries.size(0)], probes, 10);
    ms.push_back(1000 * since(due));  // from when it was due
  }
  std::ranges::sort(ms);
  return {{"per_second", per_second},
          {"p50_ms", ms[ms.size() / 2]},
          {"p99_ms", ms[std::min(ms.size() - 1, ms.size() * 99 / 100)]}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const std::int64_t rows = std::atoll(argv[1]), width = std::atoll(argv[2]);
  const io::Path folder = argv[3];
  at::set_num_threads(std::atoi(argv[4]));
  const double seconds = argc > 5 ? std::atof(argv[5]) : 60;
  const at::NoGradGuard no_gradients;
  const Towers towers(width);
  io::make_folders(folder);
  std::vector<checkpoint::SafetensorsFile> files;
  std::vector<RowRange> ranges;
  std::vector<at::Tensor> learn;
  for (std::int64_t first = 0; first < rows; first += kSegment) {
    const io::Path path = folder / (std::to_string(first) + ".safetensors");
    if (!io::exists(path)) {
      const auto [image, text] =
          towers.draw(std::min(kSegment, rows - first), static_cast<std::uint64_t>(first + 1));
      const at::Tensor some = at::cat({image.slice(0, 0, 2000, 10), text.slice(0, 0, 2000, 10)});
      checkpoint::write_safetensors(path, {{"image", image.to(at::kHalf)}, {"learn", some}}, {}, false);
    }
    files.emplace_back(path);
    learn.push_back(files.back().load("learn"));
  }
  if (seconds == 0) return 0;
  for (std::size_t i = 0; i < files.size(); ++i)
    ranges.push_back({static_cast<std::int64_t>(i) * kSegment, files[i].view("image")});
  const auto start = Clock::now();
  if (!io::exists(folder / "lists.safetensors"))
    write_lists(folder / "lists.safetensors", source_of(ranges), {.queries_QD = at::cat(learn)}, [] {});
  nlohmann::json result = {{"rows", rows},
                           {"width", width},
                           {"threads", at::get_num_threads()},
                           {"lists_seconds", since(start)},
                           {"lists_bytes", io::size_of(folder / "lists.safetensors")}};
  const ExactIndex exact(ranges);
  const Lists lists(folder / "lists.safetensors", rows, width);
  const auto [image, text] = towers.draw(kHeldBack, 999);
  const std::vector<std::int64_t> own(kHeldBack, -1);
  result["numbers"] = lists.numbers();
  for (const auto& [way, queries, rate] :
       {std::tuple("image", image, 50.0), std::tuple("text", text, 10.0)}) {
    const Promise promise = measured_promise(exact, lists, queries, own, 0.95, [] {});
    result[way] = paced(exact, lists, queries, promise.probes, rate, seconds);
    result[way]["probes"] = promise.probes;
    result[way]["recall"] = promise.recall;
  }
  result["measured_seconds"] = since(start);
  result["anonymous_mb"] = anonymous_mb();
  std::cout << result << std::endl;
  return 0;
}

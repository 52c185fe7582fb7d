#include "worker/stages/near_duplicates/near_lists.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/search/exact_index.h"

namespace trireme::worker::stages::near_duplicates {
namespace {

constexpr std::int64_t kHeldBack = 500, kRowsAtOnce = 4096;
constexpr std::size_t kLeastPairs = 100;
constexpr float kProductRounding = 3e-4F;
constexpr const char* kNone = "every pair";

struct Pair {
  std::int64_t asking = 0, other = 0;
  float cosine = -1;
};

// Of images that are evenly spread: every near one, and for each its nearest.
std::vector<Pair> held_back_pairs(const NearEmbeddings& images, const std::function<void()>& poll) {
  const std::int64_t all = images.size(), held = std::min(kHeldBack, all);
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < held; ++i) rows.push_back(images.unit_rows(i * all / held, 1));
  const at::Tensor asking_HD = at::cat(rows);
  std::vector<Pair> pairs, nearest(static_cast<std::size_t>(held));
  const auto least = static_cast<float>(images.least_cosine()) - kProductRounding;
  for (std::int64_t first = 0; first < all; first += kRowsAtOnce) {
    poll();
    const std::int64_t count = std::min(kRowsAtOnce, all - first);
    const at::Tensor score_HT = search::products(asking_HD, images.unit_rows(first, count));
    const float* score = score_HT.const_data_ptr<float>();
    for (std::int64_t i = 0; i < held; ++i)
      for (std::int64_t j = 0; j < count; ++j, ++score) {
        const Pair pair{i * all / held, first + j, *score};
        if (pair.asking == pair.other) continue;
        if (pair.cosine >= least &&
            images.are_near(static_cast<std::uint64_t>(pair.asking), static_cast<std::uint64_t>(pair.other)))
          pairs.push_back(pair);
        auto& best = nearest[static_cast<std::size_t>(i)];
        if (pair.cosine > best.cosine) best = pair;
      }
  }
  if (pairs.size() >= kLeastPairs) return pairs;
  std::ranges::stable_sort(nearest, std::ranges::greater{}, &Pair::cosine);
  nearest.resize(std::min(nearest.size(), kLeastPairs));
  return nearest;
}

// The fewest lists, the more the higher the share that is wanted.
NearPromise promise_of(const NearEmbeddings& images, const search::Lists& lists, double least_recall,
                       const std::function<void()>& poll) {
  const auto list_of = lists.list_of_rows();
  const auto rank = [&](std::int64_t asking, std::int64_t other) {
    return lists.rank_of(images.unit_rows(asking, 1)[0], list_of[static_cast<std::size_t>(other)]);
  };
  std::vector<std::int64_t> needed;
  for (const Pair& pair : held_back_pairs(images, poll)) {
    if (needed.size() % 256 == 0) poll();
    needed.push_back(1 + std::min(rank(pair.asking, pair.other), rank(pair.other, pair.asking)));
  }
  NearPromise promise{static_cast<std::int64_t>(needed.size()), lists.lists(), 1};
  if (needed.empty()) return promise;
  std::ranges::sort(needed);
  const auto of = static_cast<double>(needed.size());
  const auto wanted = static_cast<std::size_t>(std::clamp(std::ceil(least_recall * of), 1.0, of));
  promise.probes = needed[wanted - 1];
  promise.recall =
      static_cast<double>(std::ranges::upper_bound(needed, promise.probes) - needed.begin()) / of;
  return promise;
}

}  // namespace

NearPromise write_near_lists(const NearEmbeddings& images, double least_recall,
                             const std::function<void()>& poll, const io::Path& path) {
  const at::NoGradGuard no_gradients;
  const search::RowSource source{images.size(), images.width(), [&](std::int64_t first, std::int64_t count) {
                                   return images.unit_rows(first, count);
                                 }};
  const io::Path aside = path.string() + ".measured";
  search::write_lists(aside, source, {}, poll);
  NearPromise promise;
  {
    const search::Lists lists(aside, images.size(), images.width());
    promise = promise_of(images, lists, least_recall, poll);
    const checkpoint::SafetensorsFile file(aside);
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    for (const auto& name : file.names()) tensors.emplace_back(name, file.view(name));
    auto metadata = file.metadata();
    metadata.insert({{"pairs", std::to_string(promise.pairs)},
                     {"probes", std::to_string(promise.probes)},
                     {"recall", std::to_string(promise.recall)}});
    checkpoint::write_safetensors(path, tensors, metadata);
  }
  io::remove_file(aside);
  return promise;
}

void write_no_lists(const io::Path& path) {
  checkpoint::write_safetensors(path, {}, {{"format", "trireme-lists"}, {"version", "3"}, {"search", kNone}});
}

std::optional<NearPromise> read_near_promise(const io::Path& path) {
  const checkpoint::SafetensorsFile file(path);
  const auto& head = file.metadata();
  if (head.contains("search") && head.at("search") == kNone) return std::nullopt;
  if (!head.contains("pairs") || !head.contains("probes") || !head.contains("recall"))
    throw Error(ErrorKind::kDamaged, path.string() + " says not what its lists find",
                "remove the file so that its near_lists task runs again");
  return NearPromise{std::atoll(head.at("pairs").c_str()), std::atoll(head.at("probes").c_str()),
                     std::atof(head.at("recall").c_str())};
}

}  // namespace trireme::worker::stages::near_duplicates

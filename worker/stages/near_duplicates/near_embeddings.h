// Images that are nearly the same by a model: cosine of their embeddings at least a limit (ALIGN App. A has
// near-duplicates of test images by features of a model). Every pair is looked at, tile by tile of 1024 x
// 1024: float32 products say who may be; or lists of 8-bit codes offer pairs, without leaving out one of
// those that they look at (worker/search/lists.h). The cosine in float64 decides, so that neither tiles,
// threads nor partitions change a pair. An embedding that is zero or not finite is near none. Memory: two
// tiles and 24 bytes per image; the embeddings stay in the files.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "worker/checkpoint/safetensors.h"
#include "worker/data/tallies/near_clusters.h"
#include "worker/search/lists.h"

namespace trireme::worker::stages::near_duplicates {

// How many lists an image's near-duplicates are looked for in, and what that finds of the pairs of images
// that were held back.
struct NearPromise {
  std::int64_t pairs = 0, probes = 0;
  double recall = 1;
};

class NearEmbeddings : public data::Comparable {
 public:
  // Image features of all ranges (`.features.safetensors`), in order. Throws kDamaged naming a file that does
  // not fit the others.
  // `lists`: what write_near_lists() (near_lists.h) has made of them; "" looks at every pair.
  NearEmbeddings(const std::vector<data::RangeOfSamples>& ranges, double least_cosine,
                 const std::string& lists = "");
  const std::vector<Place>& places() const override { return places_; }
  std::optional<double> recall() const override;  // of lists, as it was measured
  // A pair is left out where those before it in this partition connect its images already: at most one per
  // image, however many copies there are.
  std::vector<data::NearPair> pairs(std::int64_t partition, std::int64_t partitions,
                                    const std::function<void()>& between) const override;
  double measure(std::uint64_t a, std::uint64_t b) const override;  // cosine, float64
  bool are_near(std::uint64_t a, std::uint64_t b) const;

  std::int64_t size() const { return static_cast<std::int64_t>(rows_.size()); }
  std::int64_t width() const { return width_; }
  double least_cosine() const { return least_cosine_; }
  at::Tensor unit_rows(std::int64_t first, std::int64_t count) const;  // float32; zeros of odd ones

 private:
  void fill_tile(std::uint64_t first, std::int64_t rows, float* tile) const;
  std::vector<data::NearPair> offered_pairs(std::int64_t partition, std::int64_t partitions,
                                            const std::function<void()>& between) const;

  std::vector<checkpoint::SafetensorsFile> files_;
  std::vector<const float*> rows_;
  std::vector<double> norms_;  // 0: near none
  std::vector<Place> places_;
  std::int64_t width_ = 0;
  double least_cosine_;
  std::unique_ptr<search::Lists> lists_;  // null: every pair
  NearPromise promise_;
};

}  // namespace trireme::worker::stages::near_duplicates

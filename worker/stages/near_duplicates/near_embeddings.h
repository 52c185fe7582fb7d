// Images that are nearly the same by a model: cosine of their embeddings at least a limit (ALIGN App. A has
// near-duplicates of test images by features of a model). Every pair is looked at, tile by tile of 1024 x
// 1024: float32 products say who may be, the cosine in float64 decides, so that neither tiles, threads nor
// partitions change a pair. An embedding that is zero or not finite is near none. Memory: two tiles and 24
// bytes per image; the embeddings stay in the files.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/checkpoint/safetensors.h"
#include "worker/data/tallies/near_clusters.h"

namespace trireme::worker::stages::near_duplicates {

class NearEmbeddings : public data::Comparable {
 public:
  // Image features of all ranges (`.features.safetensors`), in order. Throws kDamaged naming a file that does
  // not fit the others.
  NearEmbeddings(const std::vector<data::RangeOfSamples>& ranges, double least_cosine);
  const std::vector<Place>& places() const override { return places_; }
  // A pair is left out where those before it in this partition connect its images already: at most one per
  // image, however many copies there are.
  std::vector<data::NearPair> pairs(std::int64_t partition, std::int64_t partitions,
                                    const std::function<void()>& between) const override;
  double measure(std::uint64_t a, std::uint64_t b) const override;  // cosine, float64

 private:
  void fill_tile(std::uint64_t first, std::int64_t rows, float* tile) const;

  std::vector<checkpoint::SafetensorsFile> files_;
  std::vector<const float*> rows_;
  std::vector<double> norms_;  // 0: near none
  std::vector<Place> places_;
  std::int64_t width_ = 0;
  double least_cosine_;
};

}  // namespace trireme::worker::stages::near_duplicates

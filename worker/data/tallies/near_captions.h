// Texts that are nearly the same: of the sets of words in a row (shingles) that two samples have, at least a
// share is common, Jaccard |A and B| / |A or B|. MinHash with bands finds who may be (Broder 1997; Leskovec,
// Rajaraman, Ullman, Mining of Massive Datasets, 3.3-3.4; for captions and training text Lee et al. 2022),
// exact Jaccard over the sets decides. A band is r of the 128 minima; r = 4 from J = .7 on, 3 from .55, else
// 2, so that a pair right at the limit meets with probability .9998, .9995, .99999, one above it surer still.
// All hashes are fixed: the same pairs on any machine, for any number of partitions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "worker/data/tallies/near_clusters.h"

namespace trireme::worker::data {

// xxh3-64 of every `length` words in a row of every caption (of all words where there are fewer), sorted,
// each once. A sample without words has none and is nearly the same as no other.
std::vector<std::uint64_t> shingles_of(const std::vector<std::vector<std::string>>& captions,
                                       std::int64_t length);

// Of sorted sets, not both empty.
double jaccard(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b);

struct ShingledSample {
  std::uint32_t sample = 0;  // position in its shard
  std::vector<std::uint64_t> shingles;
};

// A `.signatures` file of captions. Samples without shingles are left out.
void write_shingles(const io::Path& path, const std::vector<ShingledSample>& samples);

// The samples of all ranges, given in order (24 bytes of memory per sample; the sets stay in the files).
class NearCaptions : public Comparable {
 public:
  // Throws kDamaged naming the file.
  NearCaptions(const std::vector<RangeOfSamples>& ranges, double least_jaccard);
  const std::vector<Place>& places() const override { return places_; }
  // A pair is left out where those before it in this partition connect its samples already, so that memory
  // stays linear whatever repeats. Under one key each set meets the next 65,536 only.
  std::vector<NearPair> pairs(std::int64_t partition, std::int64_t partitions,
                              const std::function<void()>& between) const override;
  double measure(std::uint64_t a, std::uint64_t b) const override;  // Jaccard

 private:
  using Shingles = std::span<const std::uint64_t>;
  std::vector<std::uint64_t> distinct(std::vector<NearPair>* same) const;

  std::vector<io::MappedFile> files_;  // hold the sets
  std::vector<Shingles> sets_;
  std::vector<Place> places_;
  double least_jaccard_;
};

}  // namespace trireme::worker::data

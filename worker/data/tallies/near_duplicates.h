// Images that are nearly the same by perceptual hash (Near-duplicates in jobs/protocol/FORMAT.md): hashes
// differ in at most d of 64 bits and their cells match (image_signature.h). Every such pair is found, for any
// number of partitions and whatever the order of completion: the 64 bits are cut into d + r blocks, of which
// two near-duplicates share r untouched, so that each choice of r blocks is a key under which they meet
// (r = 2, for millions of images 3); who meets is verified.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/data/images/image_signature.h"
#include "worker/data/tallies/near_clusters.h"

namespace trireme::worker::data {

struct SignedImage {
  std::uint32_t sample = 0;  // position in its shard
  ImageSignature signature;
};

// A `.signatures` file of images.
void write_signatures(const io::Path& path, const std::vector<SignedImage>& images);

// The pairs whose key falls into this partition, sorted, each once. Of images with one signature the first is
// paired with each of the others (in partition 0). Of different signatures under one key, each meets the next
// 65,536 only.
std::vector<NearPair> near_pairs(const std::vector<SignatureView>& images, int max_distance,
                                 std::int64_t partition, std::int64_t partitions);

// The images of all ranges, given in order (24 bytes of memory per image; the cells stay in the files).
class NearImages : public Comparable {
 public:
  // Throws kDamaged naming the file.
  NearImages(const std::vector<RangeOfSamples>& ranges, int max_distance);
  const std::vector<Place>& places() const override { return places_; }
  std::vector<NearPair> pairs(std::int64_t partition, std::int64_t partitions,
                              const std::function<void()>& between) const override;
  double measure(std::uint64_t a, std::uint64_t b) const override;  // bits that differ
  std::string mark(std::uint64_t i) const override;

 private:
  std::vector<io::MappedFile> files_;  // hold the cells
  std::vector<SignatureView> signatures_;
  std::vector<Place> places_;
  int max_distance_;
};

}  // namespace trireme::worker::data

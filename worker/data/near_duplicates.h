// Images that are nearly the same (NearDuplicates in jobs/protocol/FORMAT.md): hashes differ in at most d of
// 64 bits and their cells match (image_signature.h). Every such pair is found, for any number of partitions
// and whatever the order of completion: the 64 bits are cut into d + r blocks, of which two near-duplicates
// share r untouched, so that each choice of r blocks is a key under which they meet (r = 2, for millions of
// images 3); who meets is verified. Clusters are what pairs connect, over any number of steps. The kept
// member is the first in the order of the data sets as the stage lists them, then of the manifest.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/io/file.h"
#include "worker/data/image_signature.h"

namespace trireme::worker::data {

struct SignedImage {
  std::uint32_t sample = 0;  // position in its shard
  ImageSignature signature;
};

struct RangeOfSignatures {
  std::string path, data;
  std::int64_t shard = 0;  // in the manifest of `data`
};

void write_signatures(const io::Path& path, const std::vector<SignedImage>& images);

// Positions among all images, the lower first.
using NearPair = std::pair<std::uint64_t, std::uint64_t>;

// The pairs whose key falls into this partition, sorted, each once. Of images with one signature the first is
// paired with each of the others (in partition 0). Of different signatures under one key, each meets the next
// 65,536 only.
std::vector<NearPair> near_pairs(const std::vector<SignatureView>& images, int max_distance,
                                 std::int64_t partition, std::int64_t partitions);

// Reads all ranges, given in order (24 bytes of memory per image; the cells stay in the files); writes a
// `.near_pairs` file and returns how many.
std::int64_t write_near_pairs(const std::vector<RangeOfSignatures>& ranges, int max_distance,
                              std::int64_t partition, std::int64_t partitions, const io::Path& path);

struct ClusterCounts {
  std::int64_t images = 0, clusters = 0, copies = 0;  // copies: members beyond the first
};
// Joins the pairs of every partition; writes a `.near_clusters.jsonl` file.
ClusterCounts write_near_clusters(const std::vector<RangeOfSignatures>& ranges,
                                  const std::vector<std::string>& pair_files, const io::Path& path);

struct NearMatch {
  std::string place;  // "<data set>/<shard>/<sample>"
  int distance = 0;   // bits of their hashes
};

// The clusters of a file, in memory. Thread-safe.
class NearClusters {
 public:
  // One path. Throws kDamaged naming file and line.
  explicit NearClusters(const std::vector<std::string>& paths);
  // The kept member of the cluster that the image at `place` is in; none: it is that one, or in no cluster.
  std::optional<NearMatch> kept_for(const std::string& place) const;
  // The first member of its cluster that is in one of these data sets.
  std::optional<NearMatch> match_in(const std::string& place, const std::vector<std::string>& data) const;

 private:
  struct Member {
    std::string place;
    std::uint64_t bits = 0;
  };
  std::vector<std::vector<Member>> clusters_;
  std::map<std::string, std::pair<std::size_t, std::size_t>, std::less<>> member_of_;
};

}  // namespace trireme::worker::data

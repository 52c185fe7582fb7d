// Clusters of samples that are nearly the same (Near-duplicates in jobs/protocol/FORMAT.md), whatever tells
// so: pairs are found in parts, clusters are what pairs connect over any number of steps, and the kept member
// is the first in the order of the data sets as the stage lists them, then of the manifest.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/io/file.h"

namespace trireme::worker::data {

// What a map task left: something per sample.
struct RangeOfSamples {
  std::string path, data;
  std::int64_t shard = 0;  // in the manifest of `data`
};

// Positions among all samples, the lower first.
using NearPair = std::pair<std::uint64_t, std::uint64_t>;

// Sets that grow together; a set's root is its first member.
class DisjointSets {
 public:
  explicit DisjointSets(std::size_t count);
  std::uint64_t root(std::uint64_t i);
  bool join(std::uint64_t a, std::uint64_t b);  // whether they were apart
  std::size_t size() const { return parents_.size(); }

 private:
  std::vector<std::uint64_t> parents_;
};

// Samples of all ranges, in order, and when two of them are nearly the same.
class Comparable {
 public:
  struct Place {
    std::uint32_t range = 0, sample = 0;  // position among the ranges, in the shard
  };
  virtual ~Comparable() = default;
  virtual const std::vector<Place>& places() const = 0;
  // Sorted, each once. The pairs of all partitions connect exactly the samples that nearly equal ones
  // connect. `between` is called now and then, and may throw.
  virtual std::vector<NearPair> pairs(std::int64_t partition, std::int64_t partitions,
                                      const std::function<void()>& between) const = 0;
  // Evidence: bits that differ, cosine, or Jaccard similarity.
  virtual double measure(std::uint64_t a, std::uint64_t b) const = 0;
  virtual std::string mark(std::uint64_t) const { return ""; }  // 16 hex digits of a hash, or none
  // The share of all pairs that pairs() finds, as it was measured; nothing: all of them.
  virtual std::optional<double> recall() const { return {}; }
};

// Writes a `.near_pairs` file and returns how many.
std::int64_t write_near_pairs(const Comparable& samples, std::int64_t partition, std::int64_t partitions,
                              const std::function<void()>& between, const io::Path& path);

struct ClusterCounts {
  std::int64_t samples = 0, clusters = 0, copies = 0;  // copies: members beyond the first
};
// Joins the pairs of every partition; writes a `.near_clusters.jsonl` file. `by`: "hash", "embedding" or
// "caption", the reason that it gives.
ClusterCounts write_near_clusters(const Comparable& samples, const std::vector<RangeOfSamples>& ranges,
                                  const std::vector<std::string>& pair_files, const std::string& by,
                                  const io::Path& path);

struct NearMatch {
  std::string place;   // "<data set>/<shard>/<sample>"
  double measure = 0;  // of the two where one of them is kept or both have hashes; else of this and the kept
  std::string by;
};

// The clusters of several files, in memory. Thread-safe.
class NearClusters {
 public:
  // One path for each `by`, at most. Throws kDamaged naming file and line.
  explicit NearClusters(const std::vector<std::string>& paths);
  bool has(const std::string& by) const { return by_.contains(by); }
  // The kept member of the cluster that the sample at `place` is in; none: it is that one, or in no cluster.
  std::optional<NearMatch> kept_for(const std::string& by, const std::string& place) const;
  // The first member of its cluster of images, by hash or else by embedding, that is in one of these data
  // sets.
  std::optional<NearMatch> match_in(const std::string& place, const std::vector<std::string>& data) const;

 private:
  struct Member {
    std::string place;
    double measure = 0;
    std::optional<std::uint64_t> bits;
  };
  using Cluster = std::vector<Member>;
  struct Clusters {
    std::vector<Cluster> list;
    std::map<std::string, std::pair<std::size_t, std::size_t>, std::less<>> member_of;
  };
  static Clusters read(const std::string& path, std::string& by);
  static double measure_of(const Cluster& cluster, std::size_t one, std::size_t other);
  std::map<std::string, Clusters> by_;
};

}  // namespace trireme::worker::data

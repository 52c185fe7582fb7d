#include "worker/data/tallies/near_clusters.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include <simdjson.h>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "worker/data/tallies/framed_file.h"

namespace trireme::worker::data {
namespace {

constexpr std::string_view kPairsMagic = "TRNEARP1", kStage = "near_duplicates";
constexpr std::size_t kHead = 20, kPairBytes = 16;

[[noreturn]] void damaged(const io::Path& path, const std::string& what) {
  damaged_file(path, what, kStage);
}

[[noreturn]] void second_file(const std::string& path, const std::string& by) {
  throw Error(ErrorKind::kInvalid, path + ": a second file of clusters by " + by,
              "a filter stage may need one near_duplicates stage of each kind");
}

std::string place_of(const RangeOfSamples& range, std::uint32_t sample) {
  return range.data + "/" + std::to_string(range.shard) + "/" + std::to_string(sample);
}

// Six digits after the point, none that say nothing.
std::string text_of(double number) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, std::round(number * 1e6) / 1e6).ptr;
  return {digits, end};
}

void join_pairs(const std::string& name, DisjointSets& sets) {
  const io::MappedFile file{io::Path(name)};
  check_frame(file, kPairsMagic, 1, kHead, kStage);
  const auto records = io::get<std::uint64_t>(file.bytes().data() + 12);
  if (records > file.bytes().size() || kHead + records * kPairBytes + 8 != file.bytes().size())
    damaged(name, "its length is off");
  for (std::size_t i = 0; i < records; ++i) {
    const std::uint8_t* at = file.bytes().data() + kHead + i * kPairBytes;
    const auto a = io::get<std::uint64_t>(at), b = io::get<std::uint64_t>(at + 8);
    if (a >= sets.size() || b >= sets.size()) damaged(name, "it is of other samples");
    sets.join(a, b);
  }
}

}  // namespace

DisjointSets::DisjointSets(std::size_t count) : parents_(count) {
  std::iota(parents_.begin(), parents_.end(), std::uint64_t{0});
}

std::uint64_t DisjointSets::root(std::uint64_t i) {
  while (parents_[i] != i) i = parents_[i] = parents_[parents_[i]];
  return i;
}

bool DisjointSets::join(std::uint64_t a, std::uint64_t b) {
  const auto one = root(a), other = root(b);
  parents_[std::max(one, other)] = std::min(one, other);
  return one != other;
}

std::int64_t write_near_pairs(const Comparable& samples, std::int64_t partition, std::int64_t partitions,
                              const std::function<void()>& between, const io::Path& path) {
  const auto pairs = samples.pairs(partition, partitions, between);
  std::string text = frame_head(kPairsMagic, 1);
  io::put(text, std::uint64_t{pairs.size()});
  for (const auto& [first, second] : pairs) {
    io::put(text, first);
    io::put(text, second);
  }
  write_framed(path, std::move(text));
  return static_cast<std::int64_t>(pairs.size());
}

ClusterCounts write_near_clusters(const Comparable& samples, const std::vector<RangeOfSamples>& ranges,
                                  const std::vector<std::string>& pair_files, const std::string& by,
                                  const io::Path& path) {
  const auto& places = samples.places();
  DisjointSets sets(places.size());
  for (const auto& name : pair_files) join_pairs(name, sets);
  std::map<std::uint64_t, std::vector<std::uint64_t>> clusters;
  for (std::uint64_t i = 0; i < places.size(); ++i)
    if (const auto root = sets.root(i); root != i) clusters[root].push_back(i);
  ClusterCounts counts{static_cast<std::int64_t>(places.size()), static_cast<std::int64_t>(clusters.size()),
                       0};
  nlohmann::ordered_json head = {{"format", "trireme-near-clusters"},
                                 {"version", 2},
                                 {"by", by},
                                 {"samples", counts.samples},
                                 {"clusters", counts.clusters}};
  if (const auto recall = samples.recall()) head["recall"] = *recall;
  std::string text = head.dump() + "\n";
  for (const auto& [root, others] : clusters) {
    const auto member = [&, kept = root](std::uint64_t i) {
      const std::string mark = samples.mark(i);
      return "[\"" + place_of(ranges[places[i].range], places[i].sample) + "\"," +
             text_of(samples.measure(kept, i)) + (mark.empty() ? "" : ",\"" + mark + "\"") + "]";
    };
    text += "{\"kept\":\"" + place_of(ranges[places[root].range], places[root].sample) + R"(","reason":")" +
            by + R"(","members":[)" + member(root);
    for (const auto i : others) text += "," + member(i);
    text += "]}\n";
    counts.copies += static_cast<std::int64_t>(others.size());
  }
  io::write_file_atomic(path, text);
  return counts;
}

NearClusters::NearClusters(const std::vector<std::string>& paths) {
  for (const auto& path : paths) {
    std::string by;
    Clusters clusters = read(path, by);
    if (!by_.emplace(by, std::move(clusters)).second) second_file(path, by);
  }
}

NearClusters::Clusters NearClusters::read(const std::string& path, std::string& by) {
  const std::string text = io::read_file(path);
  Clusters out;
  simdjson::dom::parser parser;
  std::int64_t number = 0, clusters = 0;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    try {
      const simdjson::dom::element line = parser.parse(text.data() + at, end - at).value();
      if (number == 0) {
        if (std::string_view(line["format"].value()) != "trireme-near-clusters" ||
            std::int64_t(line["version"].value()) != 2)
          damaged(path, "not clusters of version 2");
        clusters = std::int64_t(line["clusters"].value());
        by = std::string_view(line["by"].value());
      } else {
        auto& cluster = out.list.emplace_back();
        for (const simdjson::dom::array member : simdjson::dom::array(line["members"].value())) {
          Member& made = cluster.emplace_back();
          made.place = std::string_view(member.at(0).value());
          made.measure = double(member.at(1).value());
          if (std::string_view hex; member.at(2).get(hex) == simdjson::SUCCESS)
            made.bits = std::strtoull(std::string(hex).c_str(), nullptr, 16);
          out.member_of[made.place] = {out.list.size() - 1, cluster.size() - 1};
        }
      }
    } catch (const simdjson::simdjson_error& error) {
      damaged(path, "line " + std::to_string(number + 1) + ": " + error.what());
    }
    at = end + 1;
  }
  if (number == 0 || clusters != static_cast<std::int64_t>(out.list.size()))
    damaged(path, "it ends before its last cluster");
  return out;
}

double NearClusters::measure_of(const Cluster& cluster, std::size_t one, std::size_t other) {
  const Member &a = cluster[one], &b = cluster[other];
  if (a.bits && b.bits) return std::popcount(*a.bits ^ *b.bits);
  return one == 0 ? b.measure : a.measure;
}

std::optional<NearMatch> NearClusters::kept_for(const std::string& by, const std::string& place) const {
  const auto clusters = by_.find(by);
  if (clusters == by_.end()) return {};
  const auto found = clusters->second.member_of.find(place);
  if (found == clusters->second.member_of.end() || found->second.second == 0) return {};
  const auto& cluster = clusters->second.list[found->second.first];
  return NearMatch{cluster.front().place, measure_of(cluster, found->second.second, 0), by};
}

std::optional<NearMatch> NearClusters::match_in(const std::string& place,
                                                const std::vector<std::string>& data) const {
  for (const char* by : {"hash", "embedding"}) {
    const auto clusters = by_.find(by);
    if (clusters == by_.end()) continue;
    const auto found = clusters->second.member_of.find(place);
    if (found == clusters->second.member_of.end()) continue;
    const auto& cluster = clusters->second.list[found->second.first];
    for (std::size_t i = 0; i < cluster.size(); ++i)
      for (const auto& name : data)
        if (cluster[i].place.starts_with(name + "/"))
          return NearMatch{cluster[i].place, measure_of(cluster, found->second.second, i), by};
  }
  return {};
}

}  // namespace trireme::worker::data

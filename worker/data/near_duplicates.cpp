#include "worker/data/near_duplicates.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include <simdjson.h>

#include "common/base/error.h"
#include "common/io/hash.h"
#include "common/io/little_endian.h"

namespace trireme::worker::data {
namespace {

constexpr std::string_view kSignaturesMagic = "TRSIGNA1", kPairsMagic = "TRNEARP1";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHead = 20, kSignatureBytes = 12 + kCellBytes, kPairBytes = 16, kWindow = 65536;
constexpr std::size_t kManyImages = 2'000'000;  // from here on keys of three blocks

using io::get, io::put;

[[noreturn]] void damaged(const io::Path& path, const std::string& what) {
  throw Error(ErrorKind::kDamaged, path.string() + ": " + what,
              "remove the file and run the near_duplicates stage again");
}

// Magic, version, number of records; the records; the checksum of all before it.
std::string framed(std::string_view magic, std::size_t records, const std::string& body) {
  std::string text(magic);
  put(text, kVersion);
  put(text, std::uint64_t{records});
  text += body;
  put(text, io::xxh3_64(text));
  return text;
}

// Number of records, which begin at kHead.
std::size_t check_frame(const io::MappedFile& file, std::string_view magic, std::size_t record_bytes) {
  const auto bytes = file.bytes();
  if (bytes.size() < kHead + 8 || std::memcmp(bytes.data(), magic.data(), 8) != 0 ||
      get<std::uint32_t>(bytes.data() + 8) != kVersion)
    damaged(file.path(), "not a file of this kind, version 1");
  const auto records = get<std::uint64_t>(bytes.data() + 12);
  if (records > bytes.size() || kHead + records * record_bytes + 8 != bytes.size())
    damaged(file.path(), "its length is off");
  if (io::xxh3_64({reinterpret_cast<const char*>(bytes.data()), bytes.size() - 8}) !=
      get<std::uint64_t>(bytes.data() + bytes.size() - 8))
    damaged(file.path(), "its checksum is off");
  return records;
}

struct AllImages {
  std::vector<io::MappedFile> files;  // hold the cells
  std::vector<SignatureView> signatures;
  std::vector<std::uint32_t> range, sample;  // beside them
};

AllImages read_signatures(const std::vector<RangeOfSignatures>& ranges) {
  AllImages all;
  for (std::size_t r = 0; r < ranges.size(); ++r) {
    const io::MappedFile& file = all.files.emplace_back(io::Path(ranges[r].path));
    const std::size_t records = check_frame(file, kSignaturesMagic, kSignatureBytes);
    for (std::size_t i = 0; i < records; ++i) {
      const std::uint8_t* at = file.bytes().data() + kHead + i * kSignatureBytes;
      all.signatures.push_back({get<std::uint64_t>(at), at + 12});
      all.range.push_back(static_cast<std::uint32_t>(r));
      all.sample.push_back(get<std::uint32_t>(at + 8));
    }
  }
  return all;
}

// Masks of every choice of r of the blocks.
std::vector<std::uint64_t> key_masks(int blocks, int chosen) {
  std::vector<std::uint64_t> block;
  for (int i = 0; i < blocks; ++i) {
    const int from = 64 * i / blocks, to = 64 * (i + 1) / blocks;
    block.push_back((to - from == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << (to - from)) - 1) << from);
  }
  std::vector<std::uint64_t> masks;
  for (std::uint32_t set = 0; set < std::uint32_t{1} << blocks; ++set) {
    if (std::popcount(set) != chosen) continue;
    std::uint64_t mask = 0;
    for (int i = 0; i < blocks; ++i) mask |= (set >> i & 1) != 0 ? block[static_cast<std::size_t>(i)] : 0;
    masks.push_back(mask);
  }
  return masks;
}

std::uint64_t mixed(std::uint64_t key) {
  key = (key ^ (key >> 32)) * 0x9E3779B97F4A7C15U;
  return key ^ (key >> 29);
}

// The first image of every signature, in the order of the images; pairs of it with the others.
std::vector<std::uint64_t> distinct(const std::vector<SignatureView>& images, std::vector<NearPair>* same) {
  std::vector<std::uint64_t> order(images.size());
  std::iota(order.begin(), order.end(), std::uint64_t{0});
  const auto compare = [&](std::uint64_t a, std::uint64_t b) {
    if (images[a].bits != images[b].bits) return images[a].bits < images[b].bits ? -1 : 1;
    return std::memcmp(images[a].cells, images[b].cells, kCellBytes);
  };
  std::ranges::sort(order, [&](std::uint64_t a, std::uint64_t b) {
    const int sign = compare(a, b);
    return sign != 0 ? sign < 0 : a < b;
  });
  std::vector<std::uint64_t> firsts;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || compare(order[i], firsts.back()) != 0)
      firsts.push_back(order[i]);
    else if (same != nullptr)
      same->emplace_back(firsts.back(), order[i]);
  }
  std::ranges::sort(firsts);
  return firsts;
}

std::uint64_t root_of(std::vector<std::uint64_t>& parents, std::uint64_t i) {
  while (parents[i] != i) i = parents[i] = parents[parents[i]];
  return i;
}

std::string place_of(const RangeOfSignatures& range, std::uint32_t sample) {
  return range.data + "/" + std::to_string(range.shard) + "/" + std::to_string(sample);
}

}  // namespace

void write_signatures(const io::Path& path, const std::vector<SignedImage>& images) {
  std::string body;
  for (const auto& [sample, signature] : images) {
    put(body, signature.bits);
    put(body, sample);
    body.append(reinterpret_cast<const char*>(signature.cells.data()), signature.cells.size());
  }
  io::write_file_atomic(path, framed(kSignaturesMagic, images.size(), body));
}

std::vector<NearPair> near_pairs(const std::vector<SignatureView>& images, int max_distance,
                                 std::int64_t partition, std::int64_t partitions) {
  std::vector<NearPair> pairs;
  const auto firsts = distinct(images, partition == 0 ? &pairs : nullptr);
  const int chosen = firsts.size() < kManyImages ? 2 : 3;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> keys;  // key, image
  for (const std::uint64_t mask : key_masks(max_distance + chosen, chosen)) {
    keys.clear();
    for (const std::uint64_t image : firsts)
      if (const std::uint64_t key = images[image].bits & mask;
          mixed(key ^ mixed(mask)) % static_cast<std::uint64_t>(partitions) ==
          static_cast<std::uint64_t>(partition))
        keys.emplace_back(key, image);
    std::ranges::sort(keys);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const SignatureView& here = images[keys[i].second];
      for (std::size_t j = i + 1; j < keys.size() && j - i <= kWindow && keys[j].first == keys[i].first;
           ++j) {
        const SignatureView& there = images[keys[j].second];
        if (hash_distance(here.bits, there.bits) <= max_distance && cells_match(here, there))
          pairs.emplace_back(keys[i].second, keys[j].second);
      }
    }
  }
  std::ranges::sort(pairs);
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  return pairs;
}

std::int64_t write_near_pairs(const std::vector<RangeOfSignatures>& ranges, int max_distance,
                              std::int64_t partition, std::int64_t partitions, const io::Path& path) {
  const AllImages all = read_signatures(ranges);
  const auto pairs = near_pairs(all.signatures, max_distance, partition, partitions);
  std::string body;
  for (const auto& [first, second] : pairs) {
    put(body, first);
    put(body, second);
  }
  io::write_file_atomic(path, framed(kPairsMagic, pairs.size(), body));
  return static_cast<std::int64_t>(pairs.size());
}

ClusterCounts write_near_clusters(const std::vector<RangeOfSignatures>& ranges,
                                  const std::vector<std::string>& pair_files, const io::Path& path) {
  const AllImages all = read_signatures(ranges);
  std::vector<std::uint64_t> parents(all.signatures.size());
  std::iota(parents.begin(), parents.end(), std::uint64_t{0});
  for (const auto& name : pair_files) {
    const io::MappedFile file{io::Path(name)};
    const std::size_t records = check_frame(file, kPairsMagic, kPairBytes);
    for (std::size_t i = 0; i < records; ++i) {
      const std::uint8_t* at = file.bytes().data() + kHead + i * kPairBytes;
      const auto a = get<std::uint64_t>(at), b = get<std::uint64_t>(at + 8);
      if (a >= parents.size() || b >= parents.size()) damaged(name, "it is of other images");
      const auto one = root_of(parents, a), other = root_of(parents, b);
      parents[std::max(one, other)] = std::min(one, other);  // so a root is its cluster's first image
    }
  }
  std::map<std::uint64_t, std::vector<std::uint64_t>> clusters;
  for (std::uint64_t i = 0; i < parents.size(); ++i)
    if (const auto root = root_of(parents, i); root != i) clusters[root].push_back(i);
  ClusterCounts counts{static_cast<std::int64_t>(parents.size()), static_cast<std::int64_t>(clusters.size()),
                       0};
  std::string text = R"({"format":"trireme-near-clusters","version":1,"images":)" +
                     std::to_string(counts.images) + ",\"clusters\":" + std::to_string(counts.clusters) +
                     "}\n";
  for (const auto& [root, others] : clusters) {
    const auto member = [&](std::uint64_t i) {
      return "[\"" + place_of(ranges[all.range[i]], all.sample[i]) + "\"," +
             std::to_string(hash_distance(all.signatures[root].bits, all.signatures[i].bits)) + ",\"" +
             io::hex(all.signatures[i].bits) + "\"]";
    };
    text += "{\"kept\":\"" + place_of(ranges[all.range[root]], all.sample[root]) +
            R"(","reason":"first","members":[)" + member(root);
    for (const auto i : others) text += "," + member(i);
    text += "]}\n";
    counts.copies += static_cast<std::int64_t>(others.size());
  }
  io::write_file_atomic(path, text);
  return counts;
}

NearClusters::NearClusters(const std::vector<std::string>& paths) {
  if (paths.size() != 1)
    throw Error(ErrorKind::kInvalid, std::to_string(paths.size()) + " files of clusters",
                "a filter stage may need one near_duplicates stage");
  const std::string text = io::read_file(paths[0]);
  simdjson::dom::parser parser;
  std::int64_t number = 0, clusters = 0;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    try {
      const simdjson::dom::element line = parser.parse(text.data() + at, end - at).value();
      if (number == 0) {
        if (std::string_view(line["format"].value()) != "trireme-near-clusters" ||
            std::int64_t(line["version"].value()) != 1)
          damaged(paths[0], "not clusters of version 1");
        clusters = std::int64_t(line["clusters"].value());
      } else {
        auto& cluster = clusters_.emplace_back();
        for (const auto member : simdjson::dom::array(line["members"].value())) {
          const std::string hex(std::string_view(member.at(2).value()));
          cluster.push_back(
              {std::string(std::string_view(member.at(0).value())), std::strtoull(hex.c_str(), nullptr, 16)});
          member_of_[cluster.back().place] = {clusters_.size() - 1, cluster.size() - 1};
        }
      }
    } catch (const simdjson::simdjson_error& error) {
      damaged(paths[0], "line " + std::to_string(number + 1) + ": " + error.what());
    }
    at = end + 1;
  }
  if (number == 0 || clusters != static_cast<std::int64_t>(clusters_.size()))
    damaged(paths[0], "it ends before its last cluster");
}

std::optional<NearMatch> NearClusters::kept_for(const std::string& place) const {
  const auto found = member_of_.find(place);
  if (found == member_of_.end() || found->second.second == 0) return {};
  const auto& cluster = clusters_[found->second.first];
  return NearMatch{cluster.front().place,
                   hash_distance(cluster.front().bits, cluster[found->second.second].bits)};
}

std::optional<NearMatch> NearClusters::match_in(const std::string& place,
                                                const std::vector<std::string>& data) const {
  const auto found = member_of_.find(place);
  if (found == member_of_.end()) return {};
  const auto& cluster = clusters_[found->second.first];
  for (const auto& member : cluster)
    for (const auto& name : data)
      if (member.place.starts_with(name + "/"))
        return NearMatch{member.place, hash_distance(member.bits, cluster[found->second.second].bits)};
  return {};
}

}  // namespace trireme::worker::data

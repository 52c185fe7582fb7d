#include "worker/data/tallies/near_captions.h"

#include <algorithm>
#include <compare>
#include <numeric>

#include "common/base/mix64.h"
#include "worker/data/tallies/framed_file.h"

namespace trireme::worker::data {
namespace {

constexpr std::string_view kMagic = "TRSHING1", kStage = "near_duplicates";
// Records begin at a multiple of eight, so that the sets can be read where they lie.
constexpr std::size_t kHead = 24, kWindow = 65536;
constexpr std::int64_t kMinima = 128;
constexpr double kRounding = 1e-9;

std::int64_t rows_for(double least_jaccard) {
  return least_jaccard >= 0.7 ? 4 : least_jaccard >= 0.55 ? 3 : 2;
}

// Of minima first, first + 1, … first + rows - 1.
std::uint64_t band_key(std::span<const std::uint64_t> set, std::int64_t first, std::int64_t rows) {
  std::uint64_t key = static_cast<std::uint64_t>(first);
  for (std::int64_t i = first; i < first + rows; ++i) {
    const std::uint64_t turn = static_cast<std::uint64_t>(i + 1) * 0x9E3779B97F4A7C15U;
    std::uint64_t least = ~std::uint64_t{0};
    for (const std::uint64_t shingle : set) least = std::min(least, mix64(shingle ^ turn));
    key = mix64(key + least);
  }
  return key;
}

}  // namespace

std::vector<std::uint64_t> shingles_of(const std::vector<std::vector<std::string>>& captions,
                                       std::int64_t length) {
  std::vector<std::uint64_t> found;
  for (const auto& words : captions) {
    if (words.empty()) continue;
    const std::size_t taken = std::min(words.size(), static_cast<std::size_t>(length));
    for (std::size_t first = 0; first + taken <= words.size(); ++first) {
      std::string text;
      for (std::size_t i = first; i < first + taken; ++i) text += words[i] + ' ';
      found.push_back(io::xxh3_64(text));
    }
  }
  std::ranges::sort(found);
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

double jaccard(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  std::size_t both = 0;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    both += a[i] == b[j] ? 1 : 0;
    const bool a_on = a[i] <= b[j], b_on = b[j] <= a[i];
    i += a_on ? 1 : 0;
    j += b_on ? 1 : 0;
  }
  return static_cast<double>(both) / static_cast<double>(a.size() + b.size() - both);
}

void write_shingles(const io::Path& path, const std::vector<ShingledSample>& samples) {
  std::string body;
  std::uint64_t records = 0;
  for (const auto& [sample, shingles] : samples) {
    if (shingles.empty()) continue;
    ++records;
    io::put(body, sample);
    io::put(body, static_cast<std::uint32_t>(shingles.size()));
    for (const std::uint64_t shingle : shingles) io::put(body, shingle);
  }
  std::string text = frame_head(kMagic, 1);
  io::put(text, std::uint32_t{0});
  io::put(text, records);
  write_framed(path, text + body);
}

NearCaptions::NearCaptions(const std::vector<RangeOfSamples>& ranges, double least_jaccard)
    : least_jaccard_(least_jaccard) {
  for (std::uint32_t r = 0; r < ranges.size(); ++r) {
    const io::MappedFile& file = files_.emplace_back(io::Path(ranges[r].path));
    check_frame(file, kMagic, 1, kHead, kStage);
    const auto bytes = file.bytes();
    const auto records = io::get<std::uint64_t>(bytes.data() + 16);
    const auto intact = [&](bool holds) { require_intact(holds, file.path(), "its length is off", kStage); };
    std::size_t at = kHead;
    const std::size_t end = bytes.size() - 8;
    for (std::uint64_t i = 0; i < records; ++i) {
      intact(at + 8 <= end);
      const auto count = io::get<std::uint32_t>(bytes.data() + at + 4);
      intact(count > 0 && count <= (end - at - 8) / 8);
      places_.push_back({r, io::get<std::uint32_t>(bytes.data() + at)});
      sets_.emplace_back(reinterpret_cast<const std::uint64_t*>(bytes.data() + at + 8), count);
      at += 8 + std::size_t{8} * count;
    }
    intact(at == end);
  }
}

// The first sample of every set, in order; pairs of it with the others.
std::vector<std::uint64_t> NearCaptions::distinct(std::vector<NearPair>* same) const {
  std::vector<std::uint64_t> order(sets_.size()), firsts;
  std::iota(order.begin(), order.end(), std::uint64_t{0});
  std::ranges::sort(order, [&](std::uint64_t a, std::uint64_t b) {
    const auto less = std::lexicographical_compare_three_way(sets_[a].begin(), sets_[a].end(),
                                                             sets_[b].begin(), sets_[b].end());
    return std::is_neq(less) ? std::is_lt(less) : a < b;
  });
  for (const std::uint64_t i : order) {
    if (firsts.empty() || !std::ranges::equal(sets_[i], sets_[firsts.back()]))
      firsts.push_back(i);
    else if (same != nullptr)
      same->emplace_back(firsts.back(), i);
  }
  std::ranges::sort(firsts);
  return firsts;
}

// A partition has some of the bands, and where there are more partitions than bands a part of their keys.
std::vector<NearPair> NearCaptions::pairs(std::int64_t partition, std::int64_t partitions,
                                          const std::function<void()>& between) const {
  std::vector<NearPair> found;
  const auto firsts = distinct(partition == 0 ? &found : nullptr);
  const std::int64_t rows = rows_for(least_jaccard_), bands = kMinima / rows,
                     groups = std::min(partitions, bands), group = partition % groups,
                     parts = (partitions - group + groups - 1) / groups, part = partition / groups;
  DisjointSets joined(sets_.size());
  std::vector<std::pair<std::uint64_t, std::uint64_t>> keys;  // key, sample
  for (std::int64_t band = group; band < bands; band += groups) {
    between();
    keys.clear();
    for (const std::uint64_t i : firsts) {
      const std::uint64_t key = band_key(sets_[i], band * rows, rows);
      if (static_cast<std::int64_t>(key % static_cast<std::uint64_t>(parts)) == part)
        keys.emplace_back(key, i);
    }
    std::ranges::sort(keys);
    for (std::size_t i = 0; i < keys.size(); ++i)
      for (std::size_t j = i + 1; j < keys.size() && j - i <= kWindow && keys[j].first == keys[i].first;
           ++j) {
        const std::uint64_t a = keys[i].second, b = keys[j].second;
        if (joined.root(a) != joined.root(b) && measure(a, b) + kRounding >= least_jaccard_) {
          joined.join(a, b);
          found.emplace_back(a, b);
        }
      }
  }
  std::ranges::sort(found);
  return found;
}

double NearCaptions::measure(std::uint64_t a, std::uint64_t b) const {
  return jaccard(sets_[a], sets_[b]);
}

}  // namespace trireme::worker::data

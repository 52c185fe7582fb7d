#include "worker/data/tallies/near_duplicates.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "worker/data/tallies/framed_file.h"

namespace trireme::worker::data {
namespace {

constexpr std::string_view kSignaturesMagic = "TRSIGNA1", kStage = "near_duplicates";
constexpr std::size_t kHead = 20, kSignatureBytes = 12 + kCellBytes, kWindow = 65536;
constexpr std::size_t kManyImages = 2'000'000;  // from here on keys of three blocks

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

}  // namespace

void write_signatures(const io::Path& path, const std::vector<SignedImage>& images) {
  std::string text = frame_head(kSignaturesMagic, 1);
  io::put(text, std::uint64_t{images.size()});
  for (const auto& [sample, signature] : images) {
    io::put(text, signature.bits);
    io::put(text, sample);
    text.append(reinterpret_cast<const char*>(signature.cells.data()), signature.cells.size());
  }
  write_framed(path, std::move(text));
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

NearImages::NearImages(const std::vector<RangeOfSamples>& ranges, int max_distance)
    : max_distance_(max_distance) {
  for (std::uint32_t r = 0; r < ranges.size(); ++r) {
    const io::MappedFile& file = files_.emplace_back(io::Path(ranges[r].path));
    check_frame(file, kSignaturesMagic, 1, kHead, kStage);
    const auto records = io::get<std::uint64_t>(file.bytes().data() + 12);
    require_intact(
        records <= file.bytes().size() && kHead + records * kSignatureBytes + 8 == file.bytes().size(),
        file.path(), "its length is off", kStage);
    for (std::size_t i = 0; i < records; ++i) {
      const std::uint8_t* at = file.bytes().data() + kHead + i * kSignatureBytes;
      signatures_.push_back({io::get<std::uint64_t>(at), at + 12});
      places_.push_back({r, io::get<std::uint32_t>(at + 8)});
    }
  }
}

std::vector<NearPair> NearImages::pairs(std::int64_t partition, std::int64_t partitions,
                                        const std::function<void()>& between) const {
  between();
  return near_pairs(signatures_, max_distance_, partition, partitions);
}

double NearImages::measure(std::uint64_t a, std::uint64_t b) const {
  return hash_distance(signatures_[a].bits, signatures_[b].bits);
}

std::string NearImages::mark(std::uint64_t i) const {
  return io::hex(signatures_[i].bits);
}

}  // namespace trireme::worker::data

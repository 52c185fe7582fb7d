#include "worker/data/tallies/pair_counts.h"

#include <algorithm>
#include <optional>
#include <queue>

#include "common/base/error.h"
#include "worker/data/tallies/framed_file.h"

namespace trireme::worker::data {
namespace {

constexpr std::string_view kPairsMagic = "TRPAIRS1", kCountsMagic = "TRCOUNT1", kStage = "pair_counts";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kPairBytes = 32, kCountBytes = 24;
constexpr std::size_t kPairsPrefix = 16;   // magic, version, partitions
constexpr std::size_t kCountsHeader = 40;  // magic, version, partition, partitions, 0, two counts
constexpr std::int64_t kMostPartitions = 4096;

using io::get, io::put, io::view;

void require(bool holds, const io::Path& path, const std::string& what) {
  require_intact(holds, path, what, kStage);
}

std::vector<PairRecord> sorted_records(const std::vector<Pair>& pairs, PairFamily family) {
  std::vector<PairRecord> records;
  records.reserve(pairs.size());
  for (const auto& pair : pairs) {
    records.push_back(family == PairFamily::kText ? PairRecord{pair.text, pair.image}
                                                  : PairRecord{pair.image, pair.text});
  }
  std::sort(records.begin(), records.end());
  records.erase(std::unique(records.begin(), records.end()), records.end());
  return records;
}

std::size_t pairs_header_bytes(std::int64_t partitions) {
  return kPairsPrefix + static_cast<std::size_t>(2 * partitions) * 16 + 8;
}

// Where segment (family, partition) stands in the table of the header.
const std::uint8_t* table_entry(const std::uint8_t* file, PairFamily family, std::int64_t partition,
                                std::int64_t partitions) {
  return file + kPairsPrefix + 16 * (static_cast<std::int64_t>(family) * partitions + partition);
}

}  // namespace

std::int64_t write_pairs(const io::Path& path, const std::vector<Pair>& pairs, std::int64_t partitions) {
  if (partitions < 1 || partitions > kMostPartitions) {
    throw Error(ErrorKind::kInvalid,
                "pair counts need 1 to 4096 partitions, not " + std::to_string(partitions));
  }
  std::string header = frame_head(kPairsMagic, kVersion), body;
  put(header, static_cast<std::uint32_t>(partitions));
  std::int64_t distinct = 0;
  for (const auto family : {PairFamily::kText, PairFamily::kImage}) {
    std::vector<std::string> segments(static_cast<std::size_t>(partitions));
    const auto records = sorted_records(pairs, family);
    distinct = static_cast<std::int64_t>(records.size());
    for (const auto& record : records) {
      auto& segment = segments[partition_of(record.key, partitions)];
      put_hash(segment, record.key);
      put_hash(segment, record.other);
    }
    for (const auto& segment : segments) {
      put(header, std::uint64_t{segment.size() / kPairBytes});
      put(header, io::xxh3_64(segment));
      body += segment;
    }
  }
  put(header, io::xxh3_64(header));
  io::write_file_atomic(path, header + body);
  return distinct;
}

PairsFile::PairsFile(const io::Path& path) : file_(path) {
  const auto bytes = file_.bytes();
  require(bytes.size() >= kPairsPrefix && view(bytes.data(), 8) == kPairsMagic &&
              get<std::uint32_t>(bytes.data() + 8) == kVersion,
          path, "not a file of pairs, version 1");
  partitions_ = get<std::uint32_t>(bytes.data() + 12);
  require(partitions_ >= 1 && partitions_ <= kMostPartitions, path, "its number of partitions is off");
  const std::size_t header = pairs_header_bytes(partitions_);
  require(bytes.size() >= header &&
              io::xxh3_64(view(bytes.data(), header - 8)) == get<std::uint64_t>(bytes.data() + header - 8),
          path, "its header is damaged");
  const std::uint64_t most = (bytes.size() - header) / kPairBytes;
  std::uint64_t records = 0;
  for (std::int64_t i = 0; i < 2 * partitions_; ++i) {
    const auto count = get<std::uint64_t>(bytes.data() + kPairsPrefix + 16 * i);
    require(count <= most - records, path, "it is shorter than its header says");
    records += count;
  }
  require(header + records * kPairBytes == bytes.size(), path, "it is longer than its header says");
}

PairRecord PairsFile::Segment::operator[](std::uint64_t index) const {
  const std::uint8_t* at = data_ + index * kPairBytes;
  return {get_hash(at), get_hash(at + 16)};
}

PairsFile::Segment PairsFile::segment(PairFamily family, std::int64_t partition) const {
  const std::uint8_t* file = file_.bytes().data();
  const std::uint8_t* entry = table_entry(file, family, partition, partitions_);
  const std::uint8_t* data = file + pairs_header_bytes(partitions_);
  for (const std::uint8_t* before = file + kPairsPrefix; before < entry; before += 16) {
    data += get<std::uint64_t>(before) * kPairBytes;
  }
  const Segment segment(data, get<std::uint64_t>(entry));
  require(io::xxh3_64(view(data, segment.size() * kPairBytes)) == get<std::uint64_t>(entry + 8), file_.path(),
          "partition " + std::to_string(partition) + " is damaged");
  return segment;
}

MergedCounts merge_pairs(const std::vector<PairsFile>& files, PairFamily family, std::int64_t partition) {
  struct Run {
    PairRecord record;
    std::size_t file;
    std::uint64_t index;
    bool operator>(const Run& other) const { return record > other.record; }
  };
  std::vector<PairsFile::Segment> segments;
  std::priority_queue<Run, std::vector<Run>, std::greater<>> runs;
  for (const auto& file : files) {
    segments.push_back(file.segment(family, partition));
    if (segments.back().size() > 0) runs.push({segments.back()[0], segments.size() - 1, 0});
  }
  MergedCounts merged;
  std::optional<PairRecord> last;
  PairCount current;
  const auto end_key = [&] {
    if (!last) return;
    ++merged.keys;
    if (current.others >= 2) merged.repeated.push_back(current);
  };
  while (!runs.empty()) {
    const Run run = runs.top();
    runs.pop();
    if (!last || run.record.key != last->key) {
      end_key();
      current = {run.record.key, 0};
    }
    if (!last || run.record != *last) ++current.others;
    last = run.record;
    if (run.index + 1 < segments[run.file].size()) {
      runs.push({segments[run.file][run.index + 1], run.file, run.index + 1});
    }
  }
  end_key();
  return merged;
}

void write_counts(const io::Path& path, std::int64_t partition, std::int64_t partitions,
                  const std::vector<PairCount>& texts, const std::vector<PairCount>& images) {
  std::string out = frame_head(kCountsMagic, kVersion);
  put(out, static_cast<std::uint32_t>(partition));
  put(out, static_cast<std::uint32_t>(partitions));
  put(out, std::uint32_t{0});
  put(out, std::uint64_t{texts.size()});
  put(out, std::uint64_t{images.size()});
  for (const auto* family : {&texts, &images}) {
    for (const auto& count : *family) {
      put_hash(out, count.key);
      put(out, count.others);
    }
  }
  write_framed(path, std::move(out));
}

PairCounts::PairCounts(const std::vector<std::string>& paths) {
  std::vector<std::optional<io::MappedFile>> found(paths.size());
  for (const auto& path : paths) {
    io::MappedFile file{io::Path(path)};
    const auto bytes = file.bytes();
    const std::uint8_t* data = bytes.data();
    check_frame(file, kCountsMagic, kVersion, kCountsHeader, kStage);
    const auto records = get<std::uint64_t>(data + 24) + get<std::uint64_t>(data + 32);
    require(kCountsHeader + records * kCountBytes + 8 == bytes.size(), path, "its length is off");
    const auto partition = get<std::uint32_t>(data + 12), partitions = get<std::uint32_t>(data + 16);
    if (partitions != paths.size() || partition >= partitions || found[partition]) {
      throw Error(ErrorKind::kInvalid,
                  path + " is partition " + std::to_string(partition) + " of " + std::to_string(partitions) +
                      " and does not fit the other " + std::to_string(paths.size() - 1) +
                      " files of pair counts",
                  "a filter stage may need one pair_counts stage");
    }
    found[partition].emplace(std::move(file));
  }
  for (auto& file : found) partition_.push_back(std::move(*file));
}

std::uint64_t PairCounts::others(PairFamily family, const io::Hash128& key) const {
  if (partition_.empty()) return 1;
  const auto partition = partition_of(key, static_cast<std::int64_t>(partition_.size()));
  const std::uint8_t* data = partition_[partition].bytes().data();
  const auto texts = get<std::uint64_t>(data + 24), images = get<std::uint64_t>(data + 32);
  const std::uint8_t* records =
      data + kCountsHeader + (family == PairFamily::kText ? 0 : texts * kCountBytes);
  std::uint64_t low = 0, high = family == PairFamily::kText ? texts : images;
  while (low < high) {
    const std::uint64_t middle = (low + high) / 2;
    if (get_hash(records + middle * kCountBytes) < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const std::uint8_t* at = records + low * kCountBytes;
  const bool listed = low < (family == PairFamily::kText ? texts : images) && get_hash(at) == key;
  return listed ? get<std::uint64_t>(at + 16) : 1;
}

}  // namespace trireme::worker::data

#include "worker/data/tallies/duplicates.h"

#include <algorithm>
#include <queue>

#include "common/base/error.h"
#include "worker/data/tallies/framed_file.h"

namespace trireme::worker::data {
namespace {

constexpr std::string_view kHashesMagic = "TRHASHE1", kGroupsMagic = "TRDUPLI1", kStage = "duplicates";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHashBytes = 20, kGroupBytes = 32, kHashesHead = 16, kGroupsHead = 48;

using io::get, io::put;

void require(bool holds, const io::Path& path, const std::string& what) {
  require_intact(holds, path, what, kStage);
}

// Records of one family and partition of a `.hashes` file.
struct Segment {
  const std::uint8_t* data = nullptr;
  std::uint64_t count = 0;
};

Segment segment_of(const io::MappedFile& file, std::size_t family, std::int64_t partition,
                   std::int64_t partitions) {
  const std::uint8_t* table = file.bytes().data() + kHashesHead;
  const std::size_t wanted =
      family * static_cast<std::size_t>(partitions) + static_cast<std::size_t>(partition);
  std::uint64_t before = 0, all = 0, count = 0;
  for (std::size_t i = 0; i < kSameInCount * static_cast<std::size_t>(partitions); ++i) {
    const auto here = get<std::uint64_t>(table + 8 * i);
    if (i < wanted) before += here;
    if (i == wanted) count = here;
    all += here;
  }
  const std::size_t head = kHashesHead + 8 * kSameInCount * static_cast<std::size_t>(partitions);
  require(head + all * kHashBytes + 8 == file.bytes().size(), file.path(), "its length is off");
  return {file.bytes().data() + head + before * kHashBytes, count};
}

struct Cursor {
  io::Hash128 hash;
  std::size_t range = 0;
  std::uint32_t sample = 0;
  std::uint64_t index = 0;
  bool operator>(const Cursor& other) const {
    return std::tie(hash, range, sample) > std::tie(other.hash, other.range, other.sample);
  }
};

}  // namespace

SameIn same_in_from_name(std::string_view name) {
  if (name == "image") return SameIn::kImage;
  if (name == "text") return SameIn::kText;
  if (name == "pair") return SameIn::kPair;
  throw Error(ErrorKind::kInternal, "samples cannot be the same in '" + std::string(name) + "'");
}

std::array<std::optional<io::Hash128>, kSameInCount> sample_hashes(
    std::string_view image, const std::vector<std::string>& normalized) {
  std::array<std::optional<io::Hash128>, kSameInCount> out;
  out[0] = io::xxh3_128(image);
  if (normalized.empty()) return out;
  std::string text;
  for (const auto& caption : normalized) text += caption + "\n";
  out[1] = io::xxh3_128(text);
  out[2] = io::xxh3_128(io::hex(*out[0]) + io::hex(*out[1]));
  return out;
}

void write_hashes(const io::Path& path, SampleHashes hashes, std::int64_t partitions) {
  std::string head = frame_head(kHashesMagic, kVersion), body;
  put(head, static_cast<std::uint32_t>(partitions));
  for (auto& family : hashes) {
    std::sort(family.begin(), family.end());
    std::vector<std::string> segments(static_cast<std::size_t>(partitions));
    for (const auto& one : family) {
      auto& segment = segments[partition_of(one.hash, partitions)];
      put_hash(segment, one.hash);
      put(segment, one.sample);
    }
    for (const auto& segment : segments) {
      put(head, std::uint64_t{segment.size() / kHashBytes});
      body += segment;
    }
  }
  write_framed(path, head + body);
}

std::array<DuplicateCounts, kSameInCount> write_duplicates(const std::vector<RangeOfHashes>& ranges,
                                                           std::int64_t partition, std::int64_t partitions,
                                                           const io::Path& path) {
  std::vector<io::MappedFile> files;
  std::vector<std::string> names;
  std::vector<std::uint32_t> name_of;
  for (const auto& range : ranges) {
    files.emplace_back(io::Path(range.path));
    check_frame(files.back(), kHashesMagic, kVersion, kHashesHead, kStage);
    require(get<std::uint32_t>(files.back().bytes().data() + 12) == partitions, range.path,
            "it has another number of partitions");
    const auto found = std::find(names.begin(), names.end(), range.data);
    name_of.push_back(static_cast<std::uint32_t>(found - names.begin()));
    if (found == names.end()) names.push_back(range.data);
  }
  std::array<DuplicateCounts, kSameInCount> counts;
  std::string head = frame_head(kGroupsMagic, kVersion), body;
  put(head, static_cast<std::uint32_t>(partition));
  put(head, static_cast<std::uint32_t>(partitions));
  put(head, static_cast<std::uint32_t>(names.size()));
  for (std::size_t family = 0; family < kSameInCount; ++family) {
    std::vector<Segment> segments;
    std::priority_queue<Cursor, std::vector<Cursor>, std::greater<>> queue;
    const auto push = [&](std::size_t range, std::uint64_t index) {
      if (index >= segments[range].count) return;
      const std::uint8_t* at = segments[range].data + index * kHashBytes;
      queue.push({get_hash(at), range, get<std::uint32_t>(at + 16), index});
    };
    for (const auto& file : files) segments.push_back(segment_of(file, family, partition, partitions));
    for (std::size_t range = 0; range < files.size(); ++range) push(range, 0);
    while (!queue.empty()) {
      const Cursor first = queue.top();
      std::uint32_t members = 0;
      while (!queue.empty() && queue.top().hash == first.hash) {
        const Cursor here = queue.top();
        queue.pop();
        push(here.range, here.index + 1);
        ++members;
      }
      if (members < 2) continue;
      ++counts[family].groups;
      counts[family].copies += members - 1;
      put_hash(body, first.hash);
      put(body, name_of[first.range]);
      put(body, static_cast<std::uint32_t>(ranges[first.range].shard));
      put(body, first.sample);
      put(body, members);
    }
    put(head, std::uint64_t{static_cast<std::uint64_t>(counts[family].groups)});
  }
  for (const auto& name : names) body += name + "\n";
  write_framed(path, head + body);
  return counts;
}

Duplicates::Duplicates(const std::vector<std::string>& paths) {
  std::vector<std::optional<io::MappedFile>> found(paths.size());
  for (const auto& path : paths) {
    io::MappedFile file{io::Path(path)};
    check_frame(file, kGroupsMagic, kVersion, kGroupsHead, kStage);
    const auto partition = get<std::uint32_t>(file.bytes().data() + 12),
               partitions = get<std::uint32_t>(file.bytes().data() + 16);
    if (partitions != paths.size() || partition >= partitions || found[partition])
      throw Error(ErrorKind::kInvalid, path + " does not fit the other files of duplicates",
                  "a filter stage may need one duplicates stage");
    found[partition].emplace(std::move(file));
  }
  for (auto& file : found) {
    const auto bytes = file->bytes();
    const std::uint8_t* data = bytes.data();
    std::uint64_t records = 0;
    for (std::size_t family = 0; family < kSameInCount; ++family)
      records += get<std::uint64_t>(data + 24 + 8 * family);
    require(kGroupsHead + records * kGroupBytes + 8 <= bytes.size(), file->path(), "its length is off");
    std::string_view rest(reinterpret_cast<const char*>(data) + kGroupsHead + records * kGroupBytes,
                          bytes.size() - 8 - kGroupsHead - records * kGroupBytes);
    auto& names = names_.emplace_back();
    for (auto end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
      names.emplace_back(rest.substr(0, end));
      rest.remove_prefix(end + 1);
    }
    files_.push_back(std::move(*file));
  }
}

std::optional<FirstOfGroup> Duplicates::find(SameIn family, const io::Hash128& hash) const {
  if (files_.empty()) return {};
  const std::size_t place = partition_of(hash, static_cast<std::int64_t>(files_.size()));
  const std::uint8_t* data = files_[place].bytes().data();
  const std::uint8_t* records = data + kGroupsHead;
  for (std::size_t before = 0; before < static_cast<std::size_t>(family); ++before)
    records += get<std::uint64_t>(data + 24 + 8 * before) * kGroupBytes;
  std::uint64_t low = 0, high = get<std::uint64_t>(data + 24 + 8 * static_cast<std::size_t>(family));
  const std::uint64_t all = high;
  while (low < high) {
    const std::uint64_t middle = (low + high) / 2;
    if (get_hash(records + middle * kGroupBytes) < hash)
      low = middle + 1;
    else
      high = middle;
  }
  const std::uint8_t* at = records + low * kGroupBytes;
  if (low == all || get_hash(at) != hash) return {};
  const auto name = get<std::uint32_t>(at + 16);
  require(name < names_[place].size(), files_[place].path(), "a data set has no name");
  return FirstOfGroup{names_[place][name], get<std::uint32_t>(at + 20), get<std::uint32_t>(at + 24),
                      get<std::uint32_t>(at + 28)};
}

}  // namespace trireme::worker::data

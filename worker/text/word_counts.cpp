#include "worker/text/word_counts.h"

#include <algorithm>
#include <queue>

#include "common/base/error.h"
#include "common/io/hash.h"
#include "common/io/little_endian.h"

namespace trireme::worker::text {
namespace {

constexpr std::string_view kMagic = "TRWORDS1";
constexpr std::uint32_t kVersion = 1;
constexpr std::int64_t kMostPartitions = 4096;
constexpr std::size_t kPrefix = 16, kTableEntry = 24;  // words, bytes, xxh3

using io::get, io::put, io::view;

void require(bool holds, const io::Path& path, const std::string& what) {
  if (holds) return;
  throw Error(ErrorKind::kDamaged, path.string() + ": " + what,
              "remove the file and run the vocabulary stage again");
}

struct Segment {
  std::uint64_t words = 0;
  std::string bytes;
  void add(std::string_view word, std::uint64_t count) {
    ++words;
    put(bytes, count);
    put(bytes, static_cast<std::uint32_t>(word.size()));
    bytes += word;
  }
};

void write_segments(const io::Path& path, const std::vector<Segment>& segments) {
  std::string header(kMagic), body;
  put(header, kVersion);
  put(header, static_cast<std::uint32_t>(segments.size()));
  for (const Segment& segment : segments) {
    put(header, segment.words);
    put(header, std::uint64_t{segment.bytes.size()});
    put(header, io::xxh3_64(segment.bytes));
    body += segment.bytes;
  }
  put(header, io::xxh3_64(header));
  io::write_file_atomic(path, header + body);
}

void check_partitions(std::int64_t partitions) {
  if (partitions < 1 || partitions > kMostPartitions)
    throw Error(ErrorKind::kInvalid,
                "word counts need 1 to 4096 partitions, not " + std::to_string(partitions));
}

}  // namespace

void WordTally::add(const BertWords& words) {
  std::string key;
  for (std::size_t i = 0; i < words.words.size(); ++i) {
    key.assign(words[i]);
    ++counts_[key];
  }
  words_ += words.words.size();
}

void WordTally::add(const std::string& word) {
  ++counts_[word];
  ++words_;
}

void write_word_counts(const io::Path& path, const WordTally& tally, std::int64_t partitions) {
  check_partitions(partitions);
  std::vector<const std::pair<const std::string, std::uint64_t>*> sorted;
  sorted.reserve(tally.counts().size());
  for (const auto& entry : tally.counts()) sorted.push_back(&entry);
  std::ranges::sort(sorted, {}, [](const auto* entry) -> const std::string& { return entry->first; });
  std::vector<Segment> segments(static_cast<std::size_t>(partitions));
  for (const auto* entry : sorted)
    segments[io::xxh3_64(entry->first) % segments.size()].add(entry->first, entry->second);
  write_segments(path, segments);
}

WordCountsFile::WordCountsFile(const io::Path& path) : file_(path) {
  const auto bytes = file_.bytes();
  require(bytes.size() >= kPrefix && view(bytes.data(), 8) == kMagic &&
              get<std::uint32_t>(bytes.data() + 8) == kVersion,
          path, "not a file of word counts, version 1");
  partitions_ = get<std::uint32_t>(bytes.data() + 12);
  require(partitions_ >= 1 && partitions_ <= kMostPartitions, path, "its number of partitions is off");
  const std::size_t header = kPrefix + static_cast<std::size_t>(partitions_) * kTableEntry + 8;
  require(bytes.size() >= header &&
              io::xxh3_64(view(bytes.data(), header - 8)) == get<std::uint64_t>(bytes.data() + header - 8),
          path, "its header is damaged");
  std::uint64_t left = bytes.size() - header;
  for (std::int64_t i = 0; i < partitions_; ++i) {
    const auto size =
        get<std::uint64_t>(bytes.data() + kPrefix + kTableEntry * static_cast<std::size_t>(i) + 8);
    require(size <= left, path, "it is shorter than its header says");
    left -= size;
  }
  require(left == 0, path, "it is longer than its header says");
}

std::vector<WordCountsFile::Entry> WordCountsFile::partition(std::int64_t index) const {
  const std::uint8_t* const file = file_.bytes().data();
  const std::uint8_t* entry = file + kPrefix;
  const std::uint8_t* data = entry + static_cast<std::size_t>(partitions_) * kTableEntry + 8;
  for (std::int64_t i = 0; i < index; ++i, entry += kTableEntry) data += get<std::uint64_t>(entry + 8);
  const auto words = get<std::uint64_t>(entry), size = get<std::uint64_t>(entry + 8);
  const std::string where = "partition " + std::to_string(index) + " is damaged";
  require(io::xxh3_64(view(data, size)) == get<std::uint64_t>(entry + 16), file_.path(), where);
  std::vector<Entry> entries;
  entries.reserve(words);
  const std::uint8_t* const end = data + size;
  while (data < end) {
    require(end - data >= 12, file_.path(), where);
    const auto length = get<std::uint32_t>(data + 8);
    require(static_cast<std::uint64_t>(end - data) - 12 >= length, file_.path(), where);
    entries.push_back({view(data + 12, length), get<std::uint64_t>(data)});
    data += 12 + length;
  }
  require(entries.size() == words, file_.path(), where);
  return entries;
}

MergedWords merge_word_counts(const std::vector<WordCountsFile>& files, std::int64_t partition,
                              std::int64_t partitions, const io::Path& path) {
  check_partitions(partitions);
  struct Run {
    std::string_view word;
    std::size_t file, index;
    bool operator>(const Run& other) const { return word > other.word; }
  };
  std::vector<std::vector<WordCountsFile::Entry>> lists;
  std::priority_queue<Run, std::vector<Run>, std::greater<>> runs;
  for (const auto& file : files) {
    if (file.partitions() != partitions)
      throw Error(ErrorKind::kInvalid, "a file of word counts has " + std::to_string(file.partitions()) +
                                           " partitions, not " + std::to_string(partitions));
    lists.push_back(file.partition(partition));
    if (!lists.back().empty()) runs.push({lists.back()[0].word, lists.size() - 1, 0});
  }
  std::vector<Segment> segments(static_cast<std::size_t>(partitions));
  Segment& made = segments[static_cast<std::size_t>(partition)];
  MergedWords sums;
  while (!runs.empty()) {
    const std::string_view word = runs.top().word;
    std::uint64_t count = 0;
    while (!runs.empty() && runs.top().word == word) {
      const Run run = runs.top();
      runs.pop();
      const auto& list = lists[run.file];
      count += list[run.index].count;
      if (run.index + 1 < list.size()) runs.push({list[run.index + 1].word, run.file, run.index + 1});
    }
    made.add(word, count);
    ++sums.distinct;
    sums.words += count;
  }
  write_segments(path, segments);
  return sums;
}

}  // namespace trireme::worker::text

#include "worker/data/tallies/ngram_runs.h"

#include <queue>

#include "common/base/error.h"
#include "common/io/little_endian.h"
#include "worker/data/tallies/framed_file.h"

namespace trireme::worker::data {
namespace {

constexpr std::string_view kMagic = "TRNGRAM1";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHead = 16, kSegmentBytes = 32, kTail = 16, kRecordHead = 20, kFlushBytes = 1 << 18;

using io::put;

template <class Number>
Number get(std::string_view bytes, std::size_t at) {
  return io::get<Number>(reinterpret_cast<const std::uint8_t*>(bytes.data()) + at);
}

std::string_view text_of(const io::MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void require(bool holds, const io::Path& path, const char* what) {
  if (!holds) damaged_file(path, what, "ngram_counts");
}

}  // namespace

NgramRunWriter::NgramRunWriter(const io::Path& path, std::int64_t partitions)
    : writer_(path), hash_(std::make_unique<io::Xxh3>()) {
  std::string head(kMagic);
  put(head, kVersion);
  put(head, static_cast<std::uint32_t>(partitions));
  writer_.write(head);
  open_.offset = kHead;
}

void NgramRunWriter::flush() {
  hash_->update(pending_);
  writer_.write(pending_);
  open_.bytes += pending_.size();
  pending_.clear();
}

void NgramRunWriter::add(const NgramRecord& record) {
  put(pending_, record.hash);
  put(pending_, record.count);
  put(pending_, static_cast<std::uint32_t>(record.ngram.size()));
  pending_ += record.ngram;
  ++open_.records;
  if (pending_.size() > kFlushBytes) flush();
}

void NgramRunWriter::end_partition() {
  flush();
  open_.xxh3 = hash_->finish();
  segments_.push_back(open_);
  open_ = {open_.offset + open_.bytes, 0, 0, 0};
  hash_ = std::make_unique<io::Xxh3>();
}

void NgramRunWriter::finish(bool durable) {
  std::string table;
  for (const Segment& segment : segments_) {
    put(table, segment.offset);
    put(table, segment.bytes);
    put(table, segment.records);
    put(table, segment.xxh3);
  }
  put(table, std::uint64_t{open_.offset});
  put(table, io::xxh3_64(table));
  writer_.write(table);
  writer_.finish(durable);
}

NgramRun::NgramRun(const io::Path& path) : file_(path) {
  const std::string_view bytes = text_of(file_);
  require(bytes.size() >= kHead + kTail && bytes.substr(0, 8) == kMagic &&
              get<std::uint32_t>(bytes, 8) == kVersion,
          path, "not a run of n-grams, version 1");
  partitions_ = get<std::uint32_t>(bytes, 12);
  const std::size_t table_bytes = static_cast<std::size_t>(partitions_) * kSegmentBytes;
  require(partitions_ >= 1 && partitions_ <= 4096 && bytes.size() >= kHead + table_bytes + kTail, path,
          "its number of partitions is off");
  table_ = bytes.size() - kTail - table_bytes;
  require(get<std::uint64_t>(bytes, bytes.size() - 16) == table_ &&
              get<std::uint64_t>(bytes, bytes.size() - 8) ==
                  io::xxh3_64(bytes.substr(table_, bytes.size() - 8 - table_)),
          path, "its table is damaged");
}

std::string_view NgramRun::segment(std::int64_t partition) const {
  const std::string_view bytes = text_of(file_);
  const std::size_t entry = table_ + static_cast<std::size_t>(partition) * kSegmentBytes;
  const auto offset = get<std::uint64_t>(bytes, entry), size = get<std::uint64_t>(bytes, entry + 8);
  require(offset <= table_ && size <= table_ - offset, path(), "a partition lies outside the file");
  const std::string_view segment = bytes.substr(offset, size);
  require(io::xxh3_64(segment) == get<std::uint64_t>(bytes, entry + 24), path(), "a partition is damaged");
  return segment;
}

bool next_record(std::string_view segment, std::size_t& at, NgramRecord& record, const io::Path& path) {
  if (at >= segment.size()) return false;
  require(segment.size() - at >= kRecordHead, path, "a record is cut off");
  record.hash = get<std::uint64_t>(segment, at);
  record.count = get<std::uint64_t>(segment, at + 8);
  const std::size_t length = get<std::uint32_t>(segment, at + 16);
  require(segment.size() - at - kRecordHead >= length, path, "a record is cut off");
  record.ngram = segment.substr(at + kRecordHead, length);
  at += kRecordHead + length;
  return true;
}

void merge_ngrams(const std::vector<NgramRun>& runs, std::int64_t partition,
                  const std::function<void(const NgramRecord&)>& visit) {
  struct Cursor {
    NgramRecord record;
    std::size_t run = 0;
    bool operator>(const Cursor& other) const {
      if (record.hash != other.record.hash) return record.hash > other.record.hash;
      return record.ngram > other.record.ngram;
    }
  };
  std::vector<std::string_view> segments;
  std::vector<std::size_t> places(runs.size(), 0);
  std::priority_queue<Cursor, std::vector<Cursor>, std::greater<>> queue;
  const auto advance = [&](std::size_t run) {
    Cursor cursor{{}, run};
    if (next_record(segments[run], places[run], cursor.record, runs[run].path())) queue.push(cursor);
  };
  for (const NgramRun& run : runs) segments.push_back(run.segment(partition));
  for (std::size_t run = 0; run < runs.size(); ++run) advance(run);
  while (!queue.empty()) {
    NgramRecord sum = queue.top().record;
    sum.count = 0;
    while (!queue.empty() && queue.top().record.hash == sum.hash && queue.top().record.ngram == sum.ngram) {
      sum.count += queue.top().record.count;
      const std::size_t run = queue.top().run;
      queue.pop();
      advance(run);
    }
    visit(sum);
  }
}

}  // namespace trireme::worker::data

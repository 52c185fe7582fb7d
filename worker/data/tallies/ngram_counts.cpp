#include "worker/data/tallies/ngram_counts.h"

#include <algorithm>
#include <map>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "common/io/little_endian.h"
#include "common/io/machine/aside.h"
#include "worker/data/tallies/framed_file.h"

namespace trireme::worker::data {
namespace {

constexpr std::string_view kMagic = "TRNGCNT1", kStage = "ngram_counts";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHead = 48, kEntry = 24;  // entries: hash, count, offset of the string
constexpr std::size_t kFirstSlots = 1 << 12;

using io::get, io::put;

// One file, as written by write_ngram_counts.
struct View {
  const std::uint8_t* data;
  std::uint64_t entries, string_bytes, levels;
  explicit View(const io::MappedFile& file)
      : data(file.bytes().data()),
        entries(get<std::uint64_t>(data + 24)),
        string_bytes(get<std::uint64_t>(data + 32)),
        levels(get<std::uint64_t>(data + 40)) {}
  const std::uint8_t* entry(std::uint64_t i) const { return data + kHead + string_bytes + kEntry * i; }
  std::uint64_t hash(std::uint64_t i) const { return get<std::uint64_t>(entry(i)); }
  std::uint64_t count(std::uint64_t i) const { return get<std::uint64_t>(entry(i) + 8); }
  std::string_view ngram(std::uint64_t i) const {
    const auto from = get<std::uint64_t>(entry(i) + 16);
    const auto to = i + 1 < entries ? get<std::uint64_t>(entry(i + 1) + 16) : string_bytes;
    return {reinterpret_cast<const char*>(data) + kHead + from, to - from};
  }
  // How many n-grams occur how often, rising.
  std::pair<std::uint64_t, std::uint64_t> level(std::uint64_t i) const {
    const std::uint8_t* at = entry(entries) + 16 * i;
    return {get<std::uint64_t>(at), get<std::uint64_t>(at + 8)};
  }
};

}  // namespace

NgramTally::NgramTally(io::Path output, std::int64_t partitions, std::size_t memory_bytes)
    : output_(std::move(output)), partitions_(partitions), memory_bytes_(memory_bytes), slots_(kFirstSlots) {}

NgramTally::~NgramTally() {
  for (const auto& run : runs_) io::remove_file(run);
}

void NgramTally::add_words(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    add(words[i]);
    if (i == 0) continue;
    joined_.assign(words[i - 1]).append(" ").append(words[i]);
    add(joined_);
  }
}

void NgramTally::add(std::string_view ngram) {
  const std::uint64_t hash = io::xxh3_64(ngram);
  ++counted_;
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = hash & mask;
  for (; slots_[at].count != 0; at = (at + 1) & mask) {
    Slot& slot = slots_[at];
    if (slot.hash != hash || slot.length != ngram.size() ||
        std::memcmp(pool_.data() + slot.at, ngram.data(), ngram.size()) != 0)
      continue;
    ++slot.count;
    return;
  }
  slots_[at] = {hash, 1, pool_.size(), static_cast<std::uint32_t>(ngram.size())};
  pool_ += ngram;
  if (++used_ * 2 > slots_.size()) grow();
}

// Doubling needs both tables for a moment, so it counts as three of today's.
void NgramTally::grow() {
  if (3 * slots_.size() * sizeof(Slot) + 2 * pool_.size() > memory_bytes_) {
    spill();
    return;
  }
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.count == 0) continue;
    std::size_t at = slot.hash & mask;
    while (slots_[at].count != 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

void NgramTally::write_sorted(NgramRunWriter& writer) {
  std::erase_if(slots_, [](const Slot& slot) { return slot.count == 0; });
  const auto text = [&](const Slot& slot) { return std::string_view(pool_).substr(slot.at, slot.length); };
  std::sort(slots_.begin(), slots_.end(), [&](const Slot& a, const Slot& b) {
    const auto pa = ngram_partition(a.hash, partitions_), pb = ngram_partition(b.hash, partitions_);
    if (pa != pb) return pa < pb;
    return a.hash != b.hash ? a.hash < b.hash : text(a) < text(b);
  });
  std::size_t at = 0;
  for (std::int64_t partition = 0; partition < partitions_; ++partition) {
    for (; at < slots_.size() && ngram_partition(slots_[at].hash, partitions_) == partition; ++at)
      writer.add({slots_[at].hash, slots_[at].count, text(slots_[at])});
    writer.end_partition();
  }
  distinct_ = static_cast<std::int64_t>(slots_.size());
}

void NgramTally::spill() {
  runs_.push_back(io::aside_of(output_));
  io::make_folders(output_.parent_path());
  NgramRunWriter writer(runs_.back(), partitions_);
  write_sorted(writer);
  writer.finish(false);
  slots_.assign(kFirstSlots, {});
  pool_.clear();
  used_ = 0;
}

void NgramTally::finish() {
  io::make_folders(output_.parent_path());
  const io::Aside aside(output_);
  if (!runs_.empty()) spill();
  NgramRunWriter writer(aside.path(), partitions_);
  if (runs_.empty()) {
    write_sorted(writer);
  } else {
    std::vector<NgramRun> runs;
    for (const auto& path : runs_) runs.emplace_back(path);
    distinct_ = 0;
    for (std::int64_t partition = 0; partition < partitions_; ++partition) {
      merge_ngrams(runs, partition, [&](const NgramRecord& record) {
        writer.add(record);
        ++distinct_;
      });
      writer.end_partition();
    }
  }
  writer.finish(true);
  io::rename_durably(aside.path(), output_);
}

std::int64_t write_ngram_counts(const std::vector<NgramRun>& runs, std::int64_t partition,
                                std::int64_t partitions, const io::Path& path) {
  io::make_folders(path.parent_path());
  const io::Aside aside(path);
  std::uint64_t entries = 0, strings = 0;
  std::map<std::uint64_t, std::uint64_t> levels;
  // Three passes over the merge instead of memory: the sizes for the head, the strings, the entries.
  merge_ngrams(runs, partition, [&](const NgramRecord& record) {
    ++entries;
    strings += record.ngram.size();
    ++levels[record.count];
  });
  io::FileWriter writer(aside.path());
  io::Xxh3 hash;
  std::string piece(kMagic);
  const auto flush = [&](std::size_t least) {
    if (piece.size() < least) return;
    hash.update(piece);
    writer.write(piece);
    piece.clear();
  };
  put(piece, kVersion);
  put(piece, static_cast<std::uint32_t>(partition));
  put(piece, static_cast<std::uint32_t>(partitions));
  put(piece, std::uint32_t{0});
  put(piece, entries);
  put(piece, strings);
  put(piece, std::uint64_t{levels.size()});
  merge_ngrams(runs, partition, [&](const NgramRecord& record) {
    piece += record.ngram;
    flush(1 << 18);
  });
  std::uint64_t offset = 0;
  merge_ngrams(runs, partition, [&](const NgramRecord& record) {
    put(piece, record.hash);
    put(piece, record.count);
    put(piece, offset);
    offset += record.ngram.size();
    flush(1 << 18);
  });
  for (const auto& [count, ngrams] : levels) {
    put(piece, count);
    put(piece, ngrams);
  }
  flush(0);
  std::string tail;
  put(tail, hash.finish());
  writer.write(tail);
  writer.finish(true);
  io::rename_durably(aside.path(), path);
  return static_cast<std::int64_t>(entries);
}

NgramCounts::NgramCounts(const std::vector<std::string>& paths) {
  std::vector<std::optional<io::MappedFile>> found(paths.size());
  for (const auto& path : paths) {
    io::MappedFile file{io::Path(path)};
    const auto bytes = file.bytes();
    const std::uint8_t* data = bytes.data();
    check_frame(file, kMagic, kVersion, kHead, kStage);
    const View view(file);
    require_intact(kHead + view.string_bytes + kEntry * view.entries + 16 * view.levels + 8 == bytes.size(),
                   path, "its length is off", kStage);
    const auto partition = get<std::uint32_t>(data + 12), partitions = get<std::uint32_t>(data + 16);
    if (partitions != paths.size() || partition >= partitions || found[partition])
      throw Error(ErrorKind::kInvalid,
                  path + " is partition " + std::to_string(partition) + " of " + std::to_string(partitions) +
                      " and does not fit the other files of n-gram counts",
                  "a filter stage may need one ngram_counts stage");
    found[partition].emplace(std::move(file));
  }
  for (auto& file : found) files_.push_back(std::move(*file));
}

// Hashes are even, so the place is nearly known: a guess, then steps that double.
std::uint64_t NgramCounts::count(std::string_view ngram) const {
  if (files_.empty()) return 0;
  const std::uint64_t hash = io::xxh3_64(ngram);
  const View view(
      files_[static_cast<std::size_t>(ngram_partition(hash, static_cast<std::int64_t>(files_.size())))]);
  if (view.entries == 0) return 0;
  const auto guess =
      static_cast<std::uint64_t>(static_cast<double>(hash) * 0x1p-64 * static_cast<double>(view.entries - 1));
  std::uint64_t low = guess, high = guess + 1, step = 8;
  while (low > 0 && view.hash(low) >= hash) {
    low = low > step ? low - step : 0;
    step *= 2;
  }
  for (step = 8; high < view.entries && view.hash(high) < hash; step *= 2) {
    low = high;
    high = std::min(view.entries, high + step);
  }
  while (low < high) {
    const std::uint64_t middle = (low + high) / 2;
    if (view.hash(middle) < hash)
      low = middle + 1;
    else
      high = middle;
  }
  for (; low < view.entries && view.hash(low) == hash; ++low)
    if (view.ngram(low) == ngram) return view.count(low);
  return 0;
}

RarestNgram NgramCounts::rarest(const std::vector<std::string>& words) const {
  RarestNgram out;
  const auto look = [&](std::string_view ngram) {
    const std::uint64_t found = count(ngram);
    if (!out.ngram.empty() && (found > out.count || (found == out.count && ngram <= out.ngram))) return;
    out.count = found;
    out.ngram = ngram;
  };
  std::string pair;
  for (std::size_t i = 0; i < words.size(); ++i) {
    look(words[i]);
    if (i == 0) continue;
    pair.assign(words[i - 1]).append(" ").append(words[i]);
    look(pair);
  }
  return out;
}

std::int64_t NgramCounts::distinct() const {
  std::int64_t sum = 0;
  for (const auto& file : files_) sum += static_cast<std::int64_t>(View(file).entries);
  return sum;
}

NgramCut NgramCounts::cut(std::int64_t most) const {
  std::map<std::uint64_t, std::uint64_t, std::greater<>> levels;
  for (const auto& file : files_) {
    const View view(file);
    for (std::uint64_t i = 0; i < view.levels; ++i) levels[view.level(i).first] += view.level(i).second;
  }
  auto left = static_cast<std::uint64_t>(std::max<std::int64_t>(most, 1));
  for (const auto& [count, ngrams] : levels) {
    if (ngrams < left) {
      left -= ngrams;
      continue;
    }
    NgramCut cut{count, {}};
    if (ngrams == left) return cut;
    std::vector<std::string_view> tied;
    for (const auto& file : files_) {
      const View view(file);
      for (std::uint64_t i = 0; i < view.entries; ++i)
        if (view.count(i) == count) tied.push_back(view.ngram(i));
    }
    const auto last = tied.begin() + static_cast<std::ptrdiff_t>(left - 1);
    std::nth_element(tied.begin(), last, tied.end());
    cut.last = std::string(*last);
    return cut;
  }
  return {};  // fewer n-grams than that: all are kept, also those that never occur
}

}  // namespace trireme::worker::data

// build_shard_index(): one pass over a tar or a table.
#include <algorithm>
#include <charconv>
#include <functional>
#include <memory>
#include <unordered_set>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/hash.h"
#include "jobs/specification/image_suffix.h"
#include "jobs/store/tar_scan.h"
#include "worker/data/shards/caption_text.h"
#include "worker/data/shards/shard_index.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/shards/table.h"

namespace trireme::worker::data {
namespace {

constexpr std::uint64_t kPollBytes = std::uint64_t{16} << 20;  // far below a second of hashing
constexpr std::uint64_t kImageLimitBytes = std::uint64_t{64} << 20;
constexpr std::size_t kNoImage = jobs::kImageSuffixes.size();
void note(const CaptionText& text, ShardScan& scan) {
  if (text.long_caption > 0) scan.noted["long_caption"] += text.long_caption;
  if (text.bad_text > 0) scan.noted["bad_text"] += text.bad_text;
}

// Path up to the first dot of the base name, and the lower-cased rest (open_clip, webdataset). False for
// names without either.
bool split_name(const std::string& name, std::string& key, std::string& suffix) {
  const auto slash = name.rfind('/');
  const auto base = slash == std::string::npos ? 0 : slash + 1;
  const auto dot = name.find('.', base);
  if (dot == std::string::npos || dot == base) return false;
  key = name.substr(0, dot);
  suffix = name.substr(dot + 1);
  for (char& c : suffix) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return true;
}

// Decimal, zero-based; -1 when it is not one.
std::int64_t parse_label(std::string_view text) {
  const auto last = text.find_last_not_of(" \t\r\n");
  text = text.substr(0, last == std::string_view::npos ? 0 : last + 1);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && !text.empty();
  return whole && value >= 0 ? value : -1;
}

// Consecutive members with one key make a sample.
class Grouper {
 public:
  Grouper(const io::ByteSource& tar, bool lines, ShardIndex& index, ShardScan& scan)
      : tar_(tar), lines_(lines), index_(index), scan_(scan) {}

  void add(const store::TarMember& member) {
    std::string key, suffix;
    if (!split_name(member.name, key, suffix)) return;
    const bool repeated = std::find(suffixes_.begin(), suffixes_.end(), suffix) != suffixes_.end();
    if (!open_ || key != key_ || repeated) {
      close();
      open_ = true;
      key_ = std::move(key);
    }
    const IndexRange range{member.offset, member.size};
    const std::size_t rank = jobs::image_suffix_rank(suffix).value_or(kNoImage);
    if (rank < best_image_) {
      best_image_ = rank;
      sample_.image = range;
    }
    if (suffix == "txt") sample_.text = range;
    if (suffix == "json") sample_.json = range;
    if (suffix == "cls") label_ = range;
    suffixes_.push_back(std::move(suffix));
  }

  // The sample in hand is complete.
  void close() {
    if (open_) judge();
    drop();
  }

  // The tar broke off: the sample in hand is kept when it is usable, and not blamed otherwise.
  void break_off() {
    if (open_ && !usable_parts()) drop();
    close();
  }

 private:
  bool has_image() const { return best_image_ != kNoImage; }
  bool has_suffix(std::string_view suffix) const {
    return std::find(suffixes_.begin(), suffixes_.end(), suffix) != suffixes_.end();
  }
  bool has_other_image() const {
    return std::any_of(suffixes_.begin(), suffixes_.end(), jobs::is_other_image_suffix);
  }
  bool usable_parts() const { return has_image() && (has_suffix("txt") || has_suffix("cls")); }

  void drop() {
    open_ = false;
    sample_ = {};
    label_ = {};
    suffixes_.clear();
    best_image_ = kNoImage;
  }

  void judge() {
    if (!has_image() && !has_suffix("txt") && !has_suffix("cls")) return;  // a readme, a stats file
    if (!seen_.insert(key_).second) return scan_.blame(key_, "duplicate_key");
    if (!has_image()) return scan_.blame(key_, has_other_image() ? "unsupported_image" : "no_image");
    const bool has_label = has_suffix("cls");
    if (has_label) sample_.label = parse_label(tar_.view(label_.offset, label_.size, storage_));
    const std::string_view raw = tar_.view(sample_.text.offset, sample_.text.size, storage_);
    const CaptionText text = lines_ ? read_caption_lines(raw) : read_caption(raw);
    const bool bad_label = has_label && sample_.label < 0;
    if (text.captions.empty() && sample_.label < 0)
      return scan_.blame(key_, bad_label ? "bad_label" : text.bad_text > 0 ? "bad_text" : "no_caption");
    if (bad_label) ++scan_.noted["bad_label"];
    note(text, scan_);
    scan_.labels = scan_.labels || sample_.label >= 0;
    scan_.captions += static_cast<std::int64_t>(text.captions.size());
    sample_.key = index_.intern(valid_utf8(key_) ? key_ : printable(key_));
    index_.samples.push_back(sample_);
  }

  const io::ByteSource& tar_;
  std::string storage_;
  bool lines_;
  ShardIndex& index_;
  ShardScan& scan_;
  bool open_ = false;
  std::string key_;
  IndexSample sample_;
  IndexRange label_;
  std::vector<std::string> suffixes_;
  std::size_t best_image_ = kNoImage;
  std::unordered_set<std::string> seen_;
};

void scan_tar_shard(const io::Path& shard, const io::ByteSource& tar, const std::function<void()>& poll,
                    ShardIndex& index, ShardScan& scan) {
  io::Sha256 hash;
  std::uint64_t hashed = 0;
  std::string storage;
  const auto hash_up_to = [&](std::uint64_t end) {
    for (std::uint64_t next; hashed < end; hashed = next) {
      if (poll) poll();
      next = std::min(end, hashed + kPollBytes);
      hash.update(tar.view(hashed, next - hashed, storage));
    }
  };
  Grouper grouper(tar, index.kind == ShardKind::kTarTextLines, index, scan);
  const store::TarScan found = store::scan_tar(
      tar, [&](const store::TarMember& member) { grouper.add(member); }, hash_up_to);
  if (!found.is_tar) {
    throw Error(ErrorKind::kInvalid, "shard " + shard.string() + " is not a tar",
                "check the path; compressed tars must be unpacked first (gunzip)");
  }
  if (found.cut_short) {
    grouper.break_off();
  } else {
    grouper.close();
  }
  hash_up_to(tar.size());
  index.sha256 = hash.finish_hex();
  for (const auto& [reason, count] : found.bad) scan.bad[reason] += count;
  if (found.cut_short)
    scan.examples.insert(scan.examples.begin(), "the file ends at byte " + std::to_string(tar.size()) +
                                                    ", in the middle of the archive: truncated");
}

// "" when the file can be an image, else why not.
std::string image_file_fault(const io::Path& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return "no_image";
  const auto bytes = std::filesystem::file_size(file, error);
  if (error) return "no_image";
  return bytes > kImageLimitBytes ? "oversized_member" : "";
}

void scan_table_shard(const io::Path& shard, std::string_view bytes, const std::string& image_column,
                      const std::string& caption_column, const std::function<void()>& poll, ShardIndex& index,
                      ShardScan& scan) {
  index.sha256 = io::sha256_hex(bytes);
  const Table table = group_table(bytes, shard, image_column, caption_column);
  if (table.short_rows > 0) {
    scan.bad["short_row"] = table.short_rows;
    scan.examples.push_back("line " + std::to_string(table.first_short_line) + ": short_row");
  }
  for (const TableEntry& entry : table.entries) {
    if (poll) poll();
    const std::string fault = image_file_fault(shard.parent_path() / entry.image_path);
    if (!fault.empty()) {
      scan.blame(entry.image_path, fault);
      continue;
    }
    IndexSample sample;
    sample.text.offset = index.captions.size();
    CaptionText all;
    for (const std::string& raw : entry.raw_captions) {
      const CaptionText text = read_caption(raw);
      all.long_caption += text.long_caption;
      all.bad_text += text.bad_text;
      for (const std::string& caption : text.captions) index.captions.push_back(index.intern(caption));
    }
    sample.text.size = index.captions.size() - sample.text.offset;
    if (sample.text.size == 0) {
      scan.blame(entry.image_path, all.bad_text > 0 ? "bad_text" : "no_caption");
      continue;
    }
    note(all, scan);
    sample.image = index.intern(entry.image_path);
    sample.key = valid_utf8(entry.image_path) ? sample.image : index.intern(printable(entry.image_path));
    scan.captions += static_cast<std::int64_t>(sample.text.size);
    index.samples.push_back(sample);
  }
}

}  // namespace

void ShardScan::blame(const std::string& what, const std::string& reason) {
  ++bad[reason];
  if (examples.size() < kExamples) examples.push_back(printable(what, 200) + ": " + reason);
}

ShardScan build_shard_index(const io::Path& shard, const std::string& format, const std::string& image_column,
                            const std::string& caption_column, const io::Path& index_path,
                            const std::function<void()>& poll) {
  return build_shard_index(*io::open_source(shard), shard, format, image_column, caption_column, index_path,
                           poll);
}

ShardScan build_shard_index(const io::ByteSource& bytes, const io::Path& shard, const std::string& format,
                            const std::string& image_column, const std::string& caption_column,
                            const io::Path& index_path, const std::function<void()>& poll) {
  if (format != "webdataset" && format != "clip_benchmark" && format != "table") {
    throw Error(ErrorKind::kInvalid, "shard " + shard.string() + ": unknown format \"" + format + "\"",
                "one of webdataset, clip_benchmark, table");
  }
  if (bytes.size() == 0) {
    throw Error(ErrorKind::kInvalid, "shard " + shard.string() + " is empty (0 bytes)",
                "fetch it again or take it out of the data set");
  }
  ShardIndex index;
  ShardScan scan;
  index.shard_bytes = bytes.size();
  if (format == "table") {
    index.kind = ShardKind::kTable;
    std::string storage;
    scan_table_shard(shard, bytes.view(0, bytes.size(), storage), image_column, caption_column, poll, index,
                     scan);
  } else {
    index.kind = format == "clip_benchmark" ? ShardKind::kTarTextLines : ShardKind::kTarWholeText;
    scan_tar_shard(shard, bytes, poll, index, scan);
  }
  scan.sha256 = index.sha256;
  scan.samples = static_cast<std::int64_t>(index.samples.size());
  io::write_file_atomic(index_path, encode_index(index));
  return scan;
}

}  // namespace trireme::worker::data

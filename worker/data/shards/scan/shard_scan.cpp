// build_shard_index(): one pass over a tar, a table or a folder.
#include "worker/data/shards/scan/shard_scan.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/store/tar_scan.h"
#include "worker/data/shards/quarantine.h"
#include "worker/data/shards/scan/scan_samples.h"

namespace trireme::worker::data {
namespace {

constexpr std::uint64_t kPollBytes = std::uint64_t{16} << 20;  // far below a second of hashing

// What a file is that only has a tar's name.
std::string hint_for_no_tar(std::string_view head) {
  using namespace std::string_view_literals;
  struct Known {
    std::string_view begins, hint;
  };
  constexpr Known kKnown[] = {
      {"\x1F\x8B"sv, "gzip packed it: gunzip < FILE > UNPACKED.tar"},
      {"\x28\xB5\x2F\xFD"sv, "Zstandard packed it: zstd -d < FILE > UNPACKED.tar"},
      {"\xFD"
       "7zXZ\0"sv,
       "xz packed it: xz -d < FILE > UNPACKED.tar"},
      {"BZh"sv, "bzip2 packed it: bunzip2 < FILE > UNPACKED.tar"},
      {"PK\x03\x04"sv, "it is a zip: unzip it and name the folder"},
      {"version https://git-lfs"sv, "it is a pointer of Git LFS: git lfs pull gets the file"},
      {"<"sv, "it is a web page or XML, as a failed download leaves"}};
  for (const Known& one : kKnown)
    if (head.starts_with(one.begins)) return std::string(one.hint);
  return "check the path";
}

void scan_tar_shard(const io::Path& shard, const io::ByteSource& tar, const jobs::SourceSpec& source,
                    bool lines, const std::function<void()>& poll, ShardIndex& index, ShardScan& scan) {
  io::Sha256 hash;
  std::uint64_t hashed = 0;
  std::string piece;
  const auto hash_up_to = [&](std::uint64_t end) {
    for (std::uint64_t next; hashed < end; hashed = next) {
      if (poll) poll();
      next = std::min(end, hashed + kPollBytes);
      hash.update(tar.view(hashed, next - hashed, piece));
    }
  };
  const TextForm form = text_form(source, lines);
  SampleGroups groups(source, form == TextForm::kField);
  std::vector<IndexRange> ranges;
  const store::TarScan found = store::scan_tar(
      tar,
      [&](const store::TarMember& member) {
        groups.add(member.name, member.hard_link);
        ranges.push_back({member.offset, member.size});
      },
      hash_up_to);
  if (!found.is_tar)
    throw Error(ErrorKind::kInvalid, "shard " + shard.string() + " is not a tar",
                hint_for_no_tar(tar.view(0, std::min<std::uint64_t>(tar.size(), 32), piece)));
  if (found.second_at > 0)
    throw Error(ErrorKind::kInvalid,
                "shard " + shard.string() + " ends before its last byte: another archive begins at byte " +
                    std::to_string(found.second_at) + ", and readers of tars stop before it",
                "make one archive of them: tar -A -f FIRST.tar SECOND.tar, not cat");
  hash_up_to(tar.size());
  index.sha256 = hash.finish_hex();
  const auto range = [&](std::int32_t member) { return ranges[static_cast<std::size_t>(member)]; };
  const MemberPlaces places{[&](std::int32_t member, std::string& storage) {
                              return tar.view(range(member).offset, range(member).size, storage);
                            },
                            range};
  const auto samples = groups.finish();
  SampleScan rows(source, form, places, index, scan);
  rows.join_columns(shard, samples);
  rows.take(groups, samples, found.cut_short);
  for (const auto& [reason, count] : found.bad) scan.bad[reason] += count;
  if (found.cut_short)
    scan.examples.insert(scan.examples.begin(), "the file ends at byte " + std::to_string(tar.size()) +
                                                    ", in the middle of the archive: truncated");
  scan.samples = static_cast<std::int64_t>(index.samples.size());
  scan.advice = scan_advice(source, groups, samples, places, scan);
}

// These have killed workers (RELIABILITY 8.5).
void leave_out(const std::vector<std::string>& quarantined, ShardIndex& index, ShardScan& scan) {
  if (quarantined.empty()) return;
  const std::set<std::string_view> keys(quarantined.begin(), quarantined.end());
  std::erase_if(index.samples, [&](const IndexSample& sample) {
    const std::string_view key = index.pooled(sample.key);
    if (!keys.contains(key)) return false;
    scan.blame(std::string(key), "quarantined");
    return true;
  });
  io::Xxh3 hash;
  for (const std::string_view key : keys) hash.update(std::to_string(key.size()) + " " + std::string(key));
  scan.reading += " without:" + io::hex(hash.finish());
}

ShardScan without_all(const io::Path& shard, bool is_folder, const io::Path& index_path) {
  ShardIndex index;
  ShardScan scan;
  if (is_folder) index.kind = ShardKind::kFiles;
  if (!is_folder) index.shard_bytes = io::size_of(shard);
  scan.sha256 = index.sha256 = io::sha256_hex("quarantined " + shard.string());
  scan.blame("the shard as a whole", "quarantined");
  io::write_file_atomic(index_path, encode_index(index));
  return scan;
}

ShardScan finished(const jobs::SourceSpec& source, ShardIndex& index, ShardScan scan,
                   const io::Path& index_path, const std::vector<std::string>& quarantined) {
  leave_out(quarantined, index, scan);
  index.exif_orientation = source.exif_orientation;
  index.icc_to_srgb = source.icc_to_srgb;
  if (source.exif_orientation) scan.reading += " turned";
  if (source.icc_to_srgb) scan.reading += " srgb";
  scan.sha256 = index.sha256;
  scan.samples = static_cast<std::int64_t>(index.samples.size());
  io::write_file_atomic(index_path, encode_index(index));
  return scan;
}

}  // namespace

void ShardScan::blame(const std::string& what, const std::string& reason) {
  ++bad[reason];
  if (examples.size() < kExamples) examples.push_back(printable(what, 200) + ": " + reason);
}

namespace {

ShardScan build(const io::ByteSource& bytes, const io::Path& shard, jobs::DataFormat format,
                const jobs::SourceSpec& source, const io::Path& index_path, const std::function<void()>& poll,
                const std::vector<std::string>& quarantined) {
  const bool lines = format == jobs::DataFormat::kClipBenchmark;
  if (!lines && format != jobs::DataFormat::kWebdataset && format != jobs::DataFormat::kTable)
    throw Error(ErrorKind::kInvalid,
                "shard " + shard.string() + ": unknown format \"" + std::string(name_of(format)) + "\"",
                "one of webdataset, clip_benchmark, table, files, class_folders");
  if (bytes.size() == 0)
    throw Error(ErrorKind::kInvalid, "shard " + shard.string() + " is empty (0 bytes)",
                "fetch it again or take it out of the data set");
  ShardIndex index;
  ShardScan scan;
  index.shard_bytes = bytes.size();
  if (format == jobs::DataFormat::kTable) {
    std::string storage;
    scan_table(shard, bytes.view(0, bytes.size(), storage), source, poll, index, scan);
  } else {
    index.kind = !source.parquet.empty()         ? ShardKind::kTarStoredColumns
                 : !source.caption_field.empty() ? ShardKind::kTarStoredText
                 : lines                         ? ShardKind::kTarTextLines
                                                 : ShardKind::kTarWholeText;
    scan_tar_shard(shard, bytes, source, lines, poll, index, scan);
  }
  return finished(source, index, std::move(scan), index_path, quarantined);
}

}  // namespace

ShardScan build_shard_index_without(const std::vector<std::string>& quarantined, const io::Path& shard,
                                    jobs::DataFormat format, const jobs::SourceSpec& source,
                                    const io::Path& index_path, const std::function<void()>& poll) {
  const bool is_folder = format == jobs::DataFormat::kFiles || format == jobs::DataFormat::kClassFolders;
  if (std::ranges::count(quarantined, "") > 0) return without_all(shard, is_folder, index_path);
  if (!is_folder) return build(*io::open_source(shard), shard, format, source, index_path, poll, quarantined);
  ShardIndex index;
  ShardScan scan;
  index.kind = ShardKind::kFiles;
  scan_folder(shard, format == jobs::DataFormat::kClassFolders, source, poll, index, scan);
  return finished(source, index, std::move(scan), index_path, quarantined);
}

ShardScan build_shard_index(const io::Path& shard, jobs::DataFormat format, const jobs::SourceSpec& source,
                            const io::Path& index_path, const std::function<void()>& poll) {
  return build_shard_index_without({}, shard, format, source, index_path, poll);
}

ShardScan build_shard_index(const io::ByteSource& bytes, const io::Path& shard, jobs::DataFormat format,
                            const jobs::SourceSpec& source, const io::Path& index_path,
                            const std::function<void()>& poll) {
  return build(bytes, shard, format, source, index_path, poll, {});
}

}  // namespace trireme::worker::data

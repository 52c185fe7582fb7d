#include "worker/data/shards/shard_index.h"

#include <cstring>
#include <type_traits>

#include "common/base/error.h"
#include "common/io/hash.h"
#include "common/io/little_endian.h"

namespace trireme::worker::data {
namespace {

constexpr std::string_view kMagic = "TRINDEX1";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kExifOrientation = 0x100, kIccToSrgb = 0x200;  // beside the kind
constexpr std::size_t kHeaderBytes = 8 + 4 + 4 + 8 + 64 + 3 * 8;

using io::get, io::put;

template <class T>
void put_all(std::string& out, const std::vector<T>& items) {
  out.append(reinterpret_cast<const char*>(items.data()), items.size() * sizeof(T));
}

template <class T>
std::vector<T> get_all(std::string_view bytes, std::size_t at, std::size_t count) {
  std::vector<T> items(count);
  if (count > 0) std::memcpy(items.data(), bytes.data() + at, count * sizeof(T));
  return items;
}

bool within(const IndexRange& range, std::uint64_t limit) {
  return range.offset <= limit && range.size <= limit - range.offset;
}

bool ranges_hold(const ShardIndex& index) {
  const std::uint64_t pool = index.pool.size(), bytes = index.shard_bytes;
  const std::uint64_t images = image_in_shard(index.kind) ? bytes : pool;
  const std::uint64_t texts = text_in_shard(index.kind) ? bytes : index.captions.size();
  const std::uint64_t jsons = json_in_shard(index.kind) ? bytes : index.kind == ShardKind::kTable ? 0 : pool;
  for (const IndexSample& sample : index.samples) {
    if (!within(sample.image, images) || !within(sample.key, pool) || !within(sample.text, texts) ||
        !within(sample.json, jsons))
      return false;
  }
  for (const IndexRange& caption : index.captions) {
    if (!within(caption, pool)) return false;
  }
  return true;
}

}  // namespace

IndexRange ShardIndex::intern(std::string_view text) {
  const IndexRange range{pool.size(), text.size()};
  pool += text;
  return range;
}

std::string encode_index(const ShardIndex& index) {
  std::string out;
  out.reserve(kHeaderBytes + index.samples.size() * sizeof(IndexSample) +
              index.captions.size() * sizeof(IndexRange) + index.pool.size() + 8);
  out += kMagic;
  put(out, kVersion);
  put(out, static_cast<std::uint32_t>(index.kind) | (index.exif_orientation ? kExifOrientation : 0U) |
               (index.icc_to_srgb ? kIccToSrgb : 0U));
  put(out, index.shard_bytes);
  out += index.sha256;
  put(out, static_cast<std::uint64_t>(index.samples.size()));
  put(out, static_cast<std::uint64_t>(index.captions.size()));
  put(out, static_cast<std::uint64_t>(index.pool.size()));
  put_all(out, index.samples);
  put_all(out, index.captions);
  out += index.pool;
  put(out, io::xxh3_64(out));
  return out;
}

ShardIndex decode_index(std::string_view bytes, const io::Path& path) {
  const auto damaged = [&](const std::string& why) {
    return Error(ErrorKind::kDamaged, "shard index " + path.string() + ": " + why,
                 "delete it; the inspect stage writes it again");
  };
  if (bytes.size() < kHeaderBytes + 8 || bytes.substr(0, 8) != kMagic) throw damaged("not a shard index");
  const std::string_view body = bytes.substr(0, bytes.size() - 8);
  if (io::xxh3_64(body) != get<std::uint64_t>(bytes, body.size())) throw damaged("its checksum is wrong");
  if (get<std::uint32_t>(bytes, 8) != kVersion) throw damaged("written by another version");
  const auto flags = get<std::uint32_t>(bytes, 12);
  const auto kind = flags & ~(kExifOrientation | kIccToSrgb);
  if (kind > static_cast<std::uint32_t>(ShardKind::kTarStoredColumns)) throw damaged("unknown kind");
  ShardIndex index;
  index.kind = static_cast<ShardKind>(kind);
  index.exif_orientation = (flags & kExifOrientation) != 0;
  index.icc_to_srgb = (flags & kIccToSrgb) != 0;
  index.shard_bytes = get<std::uint64_t>(bytes, 16);
  index.sha256 = std::string(bytes.substr(24, 64));
  const auto samples = get<std::uint64_t>(bytes, 88), captions = get<std::uint64_t>(bytes, 96),
             pool = get<std::uint64_t>(bytes, 104);
  const std::uint64_t rest = body.size() - kHeaderBytes;
  if (samples > rest / sizeof(IndexSample) || captions > rest / sizeof(IndexRange) || pool > rest ||
      samples * sizeof(IndexSample) + captions * sizeof(IndexRange) + pool != rest) {
    throw damaged("its lengths do not add up");
  }
  std::size_t at = kHeaderBytes;
  index.samples = get_all<IndexSample>(bytes, at, samples);
  at += samples * sizeof(IndexSample);
  index.captions = get_all<IndexRange>(bytes, at, captions);
  at += captions * sizeof(IndexRange);
  index.pool = std::string(bytes.substr(at, pool));
  if (!ranges_hold(index)) throw damaged("a range lies outside the shard");
  return index;
}

}  // namespace trireme::worker::data

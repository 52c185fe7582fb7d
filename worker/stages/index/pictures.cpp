#include "worker/stages/index/pictures.h"

#include "common/base/error.h"
#include "worker/data/batches/image_batch.h"

namespace trireme::worker::stages::index {
namespace {

constexpr std::int64_t kThumbnailPx = 256;
constexpr std::size_t kMostOpen = 256;  // mapped shards

}  // namespace

std::shared_ptr<const data::ShardReader> Pictures::reader(const search::ShardPlace& shard) {
  const std::lock_guard lock(mutex_);
  auto& reader = readers_[shard.path];
  if (!reader) {
    try {
      reader = std::make_shared<data::ShardReader>(shard.path, shard.index);
    } catch (const Error& error) {
      readers_.erase(shard.path);
      throw Error(ErrorKind::kNotFound,
                  std::string("the picture's shard cannot be read any more: ") + error.what());
    }
  }
  const auto found = reader;
  if (readers_.size() > kMostOpen)
    readers_.erase(readers_.begin()->first == shard.path ? std::next(readers_.begin()) : readers_.begin());
  return found;
}

std::string Pictures::thumbnail(std::int64_t row) {
  const auto item = index_.item(row);
  const auto shard = reader(index_.shard_of(row));
  if (item.sample >= shard->size() || shard->key(item.sample) != item.key)
    throw Error(ErrorKind::kNotFound, "the picture's shard is not the one that was indexed");
  std::string storage;
  data::Image picture;
  const auto bytes = shard->image_bytes(item.sample, storage);
  const data::DecodeRequest request{.least_side_px = kThumbnailPx, .options = data::picture_options(*shard)};
  if (const std::string fault = data::decode_image(bytes, request, picture); !fault.empty())
    throw Error(ErrorKind::kDamaged, "the picture cannot be decoded: " + fault);
  return data::jpeg_thumbnail(picture, kThumbnailPx);
}

}  // namespace trireme::worker::stages::index

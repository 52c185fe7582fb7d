// Pictures of indexed items out of their shards, as thumbnails. Shards may have moved since the index was
// made.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "worker/data/shards/shard_reader.h"
#include "worker/search/index.h"

namespace trireme::worker::stages::index {

class Pictures {
 public:
  explicit Pictures(const search::Index& index) : index_(index) {}

  // A JPEG of at most 256 pixels a side. Throws kNotFound when the shard is not there any more or is not the
  // one that was indexed, kDamaged for a picture that cannot be decoded. Thread-safe; shards stay open.
  std::string thumbnail(std::int64_t row);

 private:
  std::shared_ptr<const data::ShardReader> reader(const search::ShardPlace& shard);

  const search::Index& index_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const data::ShardReader>> readers_;  // by path
};

}  // namespace trireme::worker::stages::index

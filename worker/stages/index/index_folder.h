// The folder of an index stage, written and read (layout in index_stage.h and jobs/protocol/FORMAT.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "common/io/file.h"

namespace trireme::worker::stages::index {

struct IndexedShard {
  std::string data, path, index, format;  // index: the .idx of the shard
};

struct IndexedItem {
  std::string key;
  std::int64_t shard = 0;   // position in IndexFolder::shards
  std::int64_t sample = 0;  // position in the shard
  std::vector<std::string> captions;
};

struct IndexFolder {
  std::vector<IndexedShard> shards;
  std::vector<IndexedItem> items;  // one per row of embeddings
  at::Tensor image_ND;
  io::Path model;  // of the model folder: copied when writing, inside the index when read
};

// Written aside and renamed; replaces an older folder of that name.
void write_index(const io::Path& folder, const IndexFolder& index);

// A run folder (that holds index/) or an index folder. Throws kNotFound when there is none yet, kDamaged when
// a file is not what the manifest says.
IndexFolder read_index(const io::Path& run_or_index);

}  // namespace trireme::worker::stages::index

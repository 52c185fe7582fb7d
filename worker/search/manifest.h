// The manifest of an index folder: what it holds, from which files, and what was measured of it (layout in
// jobs/protocol/FORMAT.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::worker::search {

inline constexpr const char* kMakeAgain = "run the index stage again";  // what to do about a damaged index

struct ShardPlace {
  std::string data, path, index, format;  // index: the .idx of the shard
};

struct NamedFile {
  std::string name;  // in the index folder
  std::uint64_t bytes = 0;
  std::string xxh3;  // hex
};

struct SegmentPlace {
  NamedFile file;
  std::int64_t shard = 0;  // position in Manifest::shards
  std::int64_t items = 0;
};

// recall@10 against the exact search of held-back queries, with so many lists looked at.
struct Promise {
  std::int64_t queries = 0, probes = 0;
  double recall = 1;
};

struct Manifest {
  std::int64_t width = 0;
  bool approximate = false;
  std::vector<std::string> columns;
  std::vector<ShardPlace> shards;
  std::vector<SegmentPlace> segments;  // rows in their order
  Promise image, text;                 // by what a query is made of; of an approximate index
  std::vector<NamedFile> files;        // the model's, and lists.safetensors
  std::int64_t items() const;
};

NamedFile named_file(const io::Path& folder, const std::string& name);
// Whether it is there with the bytes that it should have.
bool is_sound(const io::Path& folder, const NamedFile& file);

void write_manifest(const io::Path& folder, const Manifest& manifest);
// Throws kInvalid for another version, kDamaged when it does not hold what it should.
Manifest read_manifest(const io::Path& folder);

// The index folder that a run folder holds, or that is given itself. Throws kNotFound when there is none yet.
io::Path index_folder(const io::Path& run_or_index);

}  // namespace trireme::worker::search

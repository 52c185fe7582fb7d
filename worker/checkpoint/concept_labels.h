// What a concepts task leaves for one range of samples (Concept labels in jobs/protocol/FORMAT.md): a
// teacher's k most probable concepts per sample and vocabulary. Legend: n samples with labels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "common/io/file.h"

namespace trireme::worker::checkpoint {

struct ConceptList {
  std::string name;        // "objects", "attributes"
  std::string vocabulary;  // vocabulary_hash() of its concepts
  std::int64_t size = 0;   // of the vocabulary
  at::Tensor index_Nk;     // int32 [n, k], most probable first
  at::Tensor weight_Nk;    // float32 [n, k], sums to 1
  at::Tensor mass_N;       // float32 [n], what the k had of the teacher's probability
};

struct ConceptLabels {
  std::string shard;                  // sha256 of the tar
  std::string teacher;                // hash of who said it
  std::int64_t first = 0, count = 0;  // the range
  at::Tensor sample;                  // int64 [n], positions in the shard, ascending
  at::Tensor key;                     // int64 [n], key_hash() of each sample's key
  at::Tensor bad;                     // int64 [m], positions that cannot be decoded
  std::vector<ConceptList> lists;
};

std::int64_t key_hash(const std::string& key);
std::string vocabulary_hash(const std::vector<std::string>& concepts);  // 16 hex digits; order counts

void write_concept_labels(const io::Path& path, const ConceptLabels& labels);

// Throws kDamaged naming the file: another format or version, shapes, positions, concepts or sums that do not
// fit.
ConceptLabels read_concept_labels(const io::Path& path);

}  // namespace trireme::worker::checkpoint

// Concepts of samples that do not stand in their .json: a concepts stage's labels, joined by key and hash,
// and what the captions themselves name (METHODS 2.3).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "jobs/protocol/messages.h"
#include "jobs/specification/stages/concepts_spec.h"
#include "worker/data/shards/sample_fields.h"
#include "worker/stages/train/inputs/data_set.h"

namespace trireme::worker::stages::train {

// Of one shard and one head. Filled once, then read by many threads.
class ConceptRows {
 public:
  explicit ConceptRows(std::int64_t samples) : row_of_(static_cast<std::size_t>(samples), -1) {}

  // Most probable first; a sample has one row.
  void add(std::int64_t sample, const data::Concepts& concepts, std::int64_t beyond_vocabulary = 0);
  bool has(std::int64_t sample) const { return row_of_[static_cast<std::size_t>(sample)] >= 0; }
  // As data::concept_field(): the `top_k` first ones, renormalised; 0: all.
  data::ConceptFault read(std::int64_t sample, std::int64_t top_k, data::Concepts& concepts,
                          std::int64_t& beyond) const;

 private:
  std::vector<std::int32_t> row_of_;
  std::vector<std::size_t> first_ = {0};  // of each row, and the end
  std::vector<std::int32_t> index_, beyond_;
  std::vector<float> weight_;
};

// Puts the vocabularies that files and stages give into the heads. Throws kInvalid naming head and file: no
// such list, top_k beyond the vocabulary.
void resolve_vocabularies(jobs::ConceptsSpec& spec, const std::vector<jobs::InputsLine>& inputs);

// One per shard of the set, in order; empty for a head that reads the samples' .json. A kept sample that its
// concepts stage has not labelled, or labelled with another shard, teacher, vocabulary or key, throws
// kInvalid with the counts; one that the stage could not decode is without labels, as it is for training.
using ShardConcepts = std::vector<std::shared_ptr<const ConceptRows>>;
ShardConcepts concept_rows(const DataSet& set, const jobs::ConceptHeadSpec& head,
                           const std::vector<jobs::InputsLine>& inputs);

}  // namespace trireme::worker::stages::train

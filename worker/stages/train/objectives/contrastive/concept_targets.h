// The concepts of samples as targets of the concept heads, and sampling by their frequency
// (METHODS 2.3, 10.6).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "jobs/specification/stages/concepts_spec.h"
#include "worker/data/batches/loader.h"
#include "worker/data/shards/sample_fields.h"
#include "worker/stages/train/inputs/data_set.h"
#include "worker/stages/train/objectives/contrastive/concept_rows.h"
#include "worker/stages/train/step/learner.h"

namespace trireme::worker::stages::train {

struct ConceptSource {
  std::string name, field;
  data::ConceptPlaces places;
  std::int64_t top_k = 0;
  ShardConcepts rows = {};  // instead of the .json
};
std::vector<ConceptSource> concept_sources(const jobs::ConceptsSpec& spec);

// Fills in the rows of heads that do not read the .json. Throws as concept_rows().
void join_concepts(const DataSet& set, const jobs::ConceptsSpec& spec,
                   const std::vector<jobs::InputsLine>& inputs, std::vector<ConceptSource>& sources);

// Targets of the slot's live rows. Adds to `counts`: "<name>.missing", "<name>.malformed" (rows without
// targets) and "<name>.beyond_vocabulary" (concepts left out).
SoftTargets concept_targets(const DataSet& set, const ConceptSource& source, const data::SlotBatch& batch,
                            std::map<std::string, std::int64_t>& counts);

// Times each kept sample is seen per epoch, written to DataShard::times: sum over its concepts c of n_c^-0.5,
// n_c samples having c, scaled to a mean of 1 over the samples that have any; the others once. Reads every
// sample once.
void sample_by_square_root(DataSet& set, const std::vector<ConceptSource>& sources);

// Throw kInvalid when none of the first kept samples has what training needs.
void require_concepts(const DataSet& set, const std::vector<ConceptSource>& sources);
void require_labels(const DataSet& set);

}  // namespace trireme::worker::stages::train

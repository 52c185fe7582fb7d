// From the loader's batches to what pairs are learnt from: tokens, stored features with dropout, concepts,
// on the right device.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "worker/data/batches/loader.h"
#include "worker/models/dual_encoder.h"
#include "worker/stages/train/inputs/text_choice.h"
#include "worker/stages/train/objectives/contrastive/concept_targets.h"
#include "worker/stages/train/step/learner.h"

namespace trireme::worker::stages::train {

// Inverted dropout around the mean, so that after standardisation it is the usual one: f' = mean + keep
// (f - mean)/(1 - p), keep drawn per element from (seed, step, slot). In place.
void drop_features(at::Tensor& features_BT, const at::Tensor& mean_T, double p, std::uint64_t seed,
                   std::int64_t step, std::int64_t slot);

struct PairInputOptions {
  bool stored_images = false, stored_texts = false;
  double feature_dropout = 0;
  std::uint64_t seed = 0;
  at::Tensor image_mean_T;  // for the dropout; zeros when features are not standardised
  std::string device = "cpu";
  data::Normalization normalization;  // of bytes
  TextChoice texts;
  bool labels = false;                  // of the samples, for LossSpec::positives
  std::vector<ConceptSource> concepts;  // one per head
};

// As Objective::input(). `counts`: see concept_targets().
SlotInput pair_input(const DataSet& set, const models::DualEncoder& encoder, data::SlotBatch& batch,
                     const PairInputOptions& options, std::int64_t step, std::int64_t slot,
                     std::map<std::string, std::int64_t>& counts);

// Mean and 1/(std + 1e-3) of the stored image features of the kept samples, in manifest order in float64;
// std with n - 1 as torch's.
struct Standardization {
  at::Tensor mean_T, inverse_std_T;
};
Standardization image_standardization(const DataSet& set);

}  // namespace trireme::worker::stages::train

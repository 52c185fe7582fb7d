// How large what a model makes is, and the model itself: rough figures for plans, from its settings alone.
#pragma once

#include <string>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {

inline constexpr double kFloatBytes = 4, kGuessedCaptions = 5;  // captions of one sample

class ModelSizes {
 public:
  explicit ModelSizes(const PipelineSpec& spec) : spec_(spec) {}

  double towers(const std::string& model) const;          // bytes of a sample's outputs of both towers
  double image(const std::string& model_or_stage) const;  // of one image, in the space of what is named
  // Of a sample, both towers, projected; `model`: a train stage, or a name in spec.models.
  double shared(const std::string& model) const;
  // Of a picture of `data` that is kept for several models: this one's part, in bytes of colours.
  double picture(const std::string& model, const std::string& data) const;
  double adopted(const std::string& model) const;  // weights that are copied for it; 0 of a train stage
  // Weights and a step's whole state of what a train stage trains.
  double weights(const TrainSettings& train) const;
  double checkpoint(const TrainSettings& train) const;

 private:
  const ModelSpec& model_of(const std::string& model) const;
  const PipelineSpec& spec_;
};

// Within a tenth or so of the truth; what is learnt of them leaves out frozen towers.
double parameters_of(const ModelSpec& model, bool learnt_alone = false);

}  // namespace trireme::jobs

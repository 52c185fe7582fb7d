// Classification: an image tower learns labels through a linear head (METHODS 3.5, ALIGN's fine-tuning). The
// model folder gets classifier.safetensors: head.weight [C, T], head.bias [C], with the names of the classes
// and what the head reads in its metadata.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "worker/stages/train/objectives/classification/classifier_model.h"
#include "worker/stages/train/objectives/objective.h"

namespace trireme::worker::stages::train {

inline constexpr const char* kClassifierFile = "classifier.safetensors";

class ClassificationObjective final : public Objective {
 public:
  // Throws kInvalid: no class names, no labels, an evaluated set of other classes.
  explicit ClassificationObjective(const ObjectiveSetup& setup);

  Learner& learner() override { return *model_; }
  void ask(data::LoaderOptions& options) const override { options.captions = false; }
  // A sample without a label goes dead and is counted ("no_label"); mixed with its mirror in the slot.
  SlotInput input(data::SlotBatch& batch, std::int64_t step, std::int64_t slot,
                  std::map<std::string, std::int64_t>& counts) const override;
  Stored stored() const override { return {false, true}; }  // the text tower does no work
  std::vector<std::string> parts() const override { return {"classification"}; }
  // acc1, acc5, mean_per_class_recall as zero-shot has them, or mean_average_precision.
  evaluation::Metrics evaluate() override;
  NamedTensors beside_encoder() override { return model_->head(); }
  void write(const io::Path& folder, const NamedTensors& best) override;

 private:
  // Classes of a sample; empty: it has none. Throws kInvalid naming one outside the classes.
  std::vector<std::int64_t> labels_of(const DataSet& set, const data::SamplePosition& sample) const;
  struct Chunk {
    at::Tensor features_nT, label_n, targets_nC;
  };
  Chunk measure_chunk(const std::vector<data::SamplePosition>& samples) const;

  ObjectiveSetup setup_;
  jobs::ClassificationSpec spec_;
  std::vector<std::string> classes_;
  std::unique_ptr<ClassifierModel> model_;
};

// The share of each row in its mixture with row B - 1 - b: Beta(alpha, alpha), drawn by (seed, step, slot),
// one per slot; 1 where alpha is 0.
double mixup_share(double alpha, std::uint64_t seed, std::int64_t step, std::int64_t slot);

}  // namespace trireme::worker::stages::train

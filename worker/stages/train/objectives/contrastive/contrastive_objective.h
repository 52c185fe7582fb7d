// Contrastive training of a dual encoder over pairs of images and texts, with concept heads beside.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/stages/train/objectives/contrastive/dual_encoder_model.h"
#include "worker/stages/train/objectives/contrastive/evaluator.h"
#include "worker/stages/train/objectives/contrastive/pair_inputs.h"
#include "worker/stages/train/objectives/objective.h"

namespace trireme::worker::stages::train {

class ContrastiveObjective final : public Objective {
 public:
  // Joins the concepts of the heads and says how often samples are seen by them; standardises stored
  // features.
  explicit ContrastiveObjective(const ObjectiveSetup& setup);

  Learner& learner() override { return *model_; }
  void ask(data::LoaderOptions& options) const override;
  SlotInput input(data::SlotBatch& batch, std::int64_t step, std::int64_t slot,
                  std::map<std::string, std::int64_t>& counts) const override;
  Stored stored() const override { return {inputs_.stored_images, inputs_.stored_texts}; }
  Sidecars sidecars() const override { return sidecars_; }
  std::vector<std::string> parts() const override;
  std::vector<std::string> signals() const override;
  evaluation::Metrics evaluate() override { return evaluator_->run(); }
  void resumed() override;
  NamedTensors beside_encoder() override;  // the heads
  void write(const io::Path& folder, const NamedTensors& best) override;

 private:
  void open_inputs();
  void open_stored();

  ObjectiveSetup setup_;
  jobs::TrainSettings settings_;  // with the heads' vocabularies
  PairInputOptions inputs_;
  Sidecars sidecars_;
  std::unique_ptr<DualEncoderModel> model_;
  std::optional<Evaluator> evaluator_;
};

}  // namespace trireme::worker::stages::train

// Captioning: a captioner learns the next token of each caption from the picture and the tokens before it
// (METHODS 2.9, 6.2).
#pragma once

#include <optional>

#include "worker/stages/train/inputs/text_choice.h"
#include "worker/stages/train/objectives/captioning/captioner_model.h"
#include "worker/stages/train/objectives/captioning/token_loss.h"
#include "worker/stages/train/objectives/objective.h"

namespace trireme::worker::stages::train {

class CaptioningObjective final : public Objective {
 public:
  explicit CaptioningObjective(const ObjectiveSetup& setup);

  Learner& learner() override { return model_; }
  void ask(data::LoaderOptions& options) const override { ask_for_texts(texts_, setup_.data, options); }
  SlotInput input(data::SlotBatch& batch, std::int64_t step, std::int64_t slot,
                  std::map<std::string, std::int64_t>& counts) const override;
  Sidecars sidecars() const override { return {texts_.from_stage, setup_.data.sidecar_seconds}; }
  std::vector<std::string> parts() const override { return {"caption"}; }
  evaluation::Metrics evaluate() override { return evaluator_->run(); }
  bool better(double metric, double best) const override { return metric < best; }  // nats per token

 private:
  ObjectiveSetup setup_;
  TextChoice texts_;
  CaptionerModel model_;
  models::Captioner captioner_;
  std::optional<TokenLoss> evaluator_;
};

}  // namespace trireme::worker::stages::train

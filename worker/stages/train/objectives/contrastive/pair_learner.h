// The losses over pairs as the training step sees them: ALIGN's, ALIP's, DiHT's, UniCL's and SigLIP's and
// what combines (worker/losses/contrastive.h), ALIP's gates, a learnt temperature, concept heads beside
// (METHODS 1 to 3). forward() is the model's: rows_BD are the images, then the texts of each pair (raw texts,
// synthetic captions), unit rows; sum_H the heads' losses.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "worker/losses/alip_gates.h"
#include "worker/losses/contrastive.h"
#include "worker/losses/temperature.h"
#include "worker/stages/train/step/learner.h"

namespace trireme::worker::stages::train {

struct PairLossOptions {
  losses::ContrastiveOptions contrastive;
  losses::Temperature temperature;
  std::optional<losses::GateOptions> gates;  // the model then gives raw texts and synthetic captions
  losses::GateState gates_at_start;
  std::vector<double> head_weights;  // one per concept head
};

class PairLearner : public Learner {
 public:
  explicit PairLearner(PairLossOptions options);  // throws kInvalid naming an option

  virtual at::Tensor temperature() = 0;             // scalar, see losses::Temperature
  virtual at::Tensor sigmoid_bias() { return {}; }  // scalar; undefined but for the sigmoid loss

  // Parts: each pair's loss, then each head's mean before its weight.
  StepLoss loss(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                const LossContext& context) override;
  // The temperature into its bounds, the gates' means on.
  void settle(const at::Tensor& taken) override;

  // The gates' means, where there are gates; a model adds its own to them.
  NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;
  // Where they are on the device, this waits for it.
  losses::GateState gates() const;
  void start_gates_again() { set_gates(options_.gates_at_start); }

 protected:
  const PairLossOptions& options() const { return options_; }

 private:
  // What a step's loss is computed with and from; where it is read later, all of it on the device.
  StepLoss later(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                 std::vector<losses::SlotEmbeddings> embeddings, const LossContext& context);
  std::vector<at::Tensor> gated(std::vector<losses::SlotEmbeddings>& embeddings, const LossContext& context,
                                std::vector<at::Tensor>& gate_3b);
  void set_gates(const losses::GateState& state);

  PairLossOptions options_;
  losses::GateState gates_, next_gates_;     // next: once the step is taken
  at::Tensor gates_3_, next_gates_3_;        // the same on the device, where steps are read later
  double known_scale_ = 0, known_bias_ = 0;  // of the last step that was read: what ranks compare
};

// What the losses see of single samples (signals/signals.h): similarities S_xt = x.t, S_xc = x.c, S_tc = t.c
// and ALIP's weights W^s, W^t, W^c and W^s W^t; "similarity.text", "weight.sample" …: what there is with raw
// texts, synthetic captions and gates.
std::vector<std::string> pair_signals(bool raw, bool synthetic, bool gated);

// Values of one slot's rows in the order of the names, float64 [signals, b] where the gates are (without
// them: where the rows are). `gate_3b`: W^s, W^t, W^c; undefined without gates.
at::Tensor slot_signals(const losses::SlotEmbeddings& slot, const at::Tensor& gate_3b);

}  // namespace trireme::worker::stages::train

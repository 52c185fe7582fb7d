// A learner small enough to follow by hand, and slots of inputs for it.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <tuple>

#include "common/base/random.h"
#include "worker/losses/soft_target_loss.h"
#include "worker/stages/train/objectives/contrastive/pair_learner.h"

namespace trireme::worker::stages::train {

inline at::Tensor draw(std::int64_t rows, std::int64_t columns, std::uint64_t key) {
  RandomStream random(5, RandomPurpose::kTest, key);
  at::Tensor values = at::empty({rows, columns}, at::kFloat);
  for (std::int64_t i = 0; i < values.numel(); ++i)
    values.data_ptr<float>()[i] = static_cast<float>(random.normal());
  return values;
}

struct ToyOptions {
  bool dropout = false, heads = false, bias = false;
  bool learnt = true, repeats = false;
  double temperature = 2;  // the parameter at the start
  at::Device device = at::kCPU;
};

// Two layers per side on stored features; captions go through the text side, a concept head sits on the image
// features. Dropout draws from the row itself, as every model here must.
class Toy final : public PairLearner {
 public:
  explicit Toy(ToyOptions options = {}, const PairLossOptions& loss = {})
      : PairLearner(loss), options_(options) {
    for (const auto& [name, rows, columns] :
         {std::tuple{"image.1", 24, 48}, {"image.2", 48, 16}, {"text.1", 20, 48}, {"text.2", 48, 16}})
      named_.emplace_back(name,
                          (draw(rows, columns, name_key(name)) * 0.2).to(options.device).requires_grad_());
    if (options.heads)
      named_.emplace_back("head", (draw(24, 5, 77) * 0.2).to(options.device).requires_grad_());
    bias_ = at::full({}, -2.0F, at::TensorOptions(options.device));
    if (options.bias) named_.emplace_back("bias", bias_.requires_grad_());
    temperature_ = at::full({}, options.temperature, at::TensorOptions(options.device).dtype(at::kFloat));
    if (options.learnt) named_.emplace_back("logit_scale", temperature_.requires_grad_());
  }
  SlotOutput forward(const SlotInput& input) override {
    const auto side = [&](const at::Tensor& features, std::size_t first) {
      auto hidden = at::gelu(at::matmul(features, named_[first].second));
      if (options_.dropout)
        hidden = hidden * at::sin(features.narrow(1, 0, 1) * 1e4 + at::arange(48) * 7).gt(-0.5) / 0.66;
      const auto out = at::matmul(hidden, named_[first + 1].second).to(at::kFloat);
      return out / out.norm(2, {1}, true);
    };
    SlotOutput output{{side(input.image_features_BT, 0), side(input.text_features_BT, 2)}};
    if (input.caption_tokens_BL.defined())
      output.rows_BD.push_back(side(input.caption_tokens_BL.to(at::kFloat) * 0.01, 2));
    if (options_.heads)
      output.sum_H = losses::soft_target_loss(at::matmul(input.image_features_BT, named_[4].second),
                                              input.targets[0].index_Bk, input.targets[0].weight_Bk)
                         .sum()
                         .view({1});
    return output;
  }
  bool repeats() const override { return options_.repeats; }
  NamedTensors parameters() override { return named_; }
  at::Tensor temperature() override { return temperature_; }
  at::Tensor sigmoid_bias() override { return options_.bias ? bias_ : at::Tensor(); }

 private:
  ToyOptions options_;
  NamedTensors named_;
  at::Tensor temperature_, bias_;
};

constexpr std::int64_t kSlots = 8, kRows = 6;

inline SlotInput input_of(std::int64_t step, std::int64_t slot) {
  const auto key = static_cast<std::uint64_t>(step * 1000 + slot);
  SlotInput input;
  input.image_features_BT = draw(kRows, 24, key);
  input.text_features_BT = at::cat({input.image_features_BT.narrow(1, 0, 10), draw(kRows, 10, key + 500)}, 1);
  input.live_B = at::ones({kRows}, at::kByte);
  if (slot == kSlots - 1) input.live_B[kRows - 1] = 0;
  return input;
}

// With synthetic captions like the texts, and concepts of every row but the dead and one more.
inline SlotInput rich_input_of(std::int64_t step, std::int64_t slot) {
  auto input = input_of(step, slot);
  const auto key = static_cast<std::uint64_t>(step * 1000 + slot);
  input.caption_tokens_BL = ((input.text_features_BT + draw(kRows, 20, key + 700) * 0.3) * 100).to(at::kLong);
  SoftTargets targets{draw(kRows, 2, key + 800).abs().mul(100).to(at::kLong).remainder(5),
                      at::full({kRows, 2}, 0.5F)};
  targets.weight_Bk[1].zero_();
  if (slot == kSlots - 1) targets.weight_Bk[kRows - 1].zero_();
  input.targets.push_back(targets);
  return input;
}

inline const losses::Temperature kTemperature{.max_scale = std::exp(2.01)};

}  // namespace trireme::worker::stages::train

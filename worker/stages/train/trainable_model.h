// What the training step needs to know of a model; DualEncoderModel is the real one, tests have a toy.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::stages::train {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Rows of one logical slot; of each pair one is defined. Rows that are not live hold zeros or padding tokens.
struct SlotInput {
  at::Tensor image_BCHW;         // float32
  at::Tensor image_features_BT;  // stored output of a frozen tower
  at::Tensor tokens_BL;          // int64
  at::Tensor text_features_BT;
  at::Tensor live_B;  // uint8
};

struct SlotOutput {
  at::Tensor image_BD, text_BD;  // unit rows, float32, with their graphs
};

class TrainableModel {
 public:
  virtual ~TrainableModel() = default;
  // Called by several threads at once; changes nothing.
  virtual SlotOutput embed(const SlotInput& input) = 0;
  // In a fixed order; float32 leaves that require gradients, the temperature logit_scale() among them.
  virtual NamedTensors parameters() = 0;
  virtual at::Tensor logit_scale() = 0;
  virtual double logit_scale_max() const = 0;
};

}  // namespace trireme::worker::stages::train

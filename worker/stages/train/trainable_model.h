// What the training step needs to know of a model; DualEncoderModel is the real one, tests have a toy.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::stages::train {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Sparse soft targets of one concept head. Rows that are not live or have none hold zero weights.
struct ConceptTargets {
  at::Tensor index_Bk, weight_Bk;  // int64, float32
};

// Rows of one logical slot; of image and of text one of each pair is defined. Rows that are not live hold
// zeros or padding tokens.
struct SlotInput {
  at::Tensor image_BCHW;         // float32
  at::Tensor image_features_BT;  // stored output of a frozen tower
  at::Tensor tokens_BL;          // int64
  at::Tensor text_features_BT;
  at::Tensor live_B;                     // uint8, on the CPU
  at::Tensor caption_tokens_BL;          // int64: synthetic captions beside the raw texts; undefined: none
  at::Tensor caption_features_BT;        // or their stored output of a frozen text tower
  at::Tensor label_B;                    // int64, on the CPU; undefined: every row is its own
  std::vector<ConceptTargets> concepts;  // one per head
  std::int64_t first_row = 0;            // of the slot: what is drawn at random is drawn by row
  std::uint64_t seed = 0;                // what layers draw depends on these three alone
  std::int64_t step = 0, slot = 0;
  double target_seconds = 0;  // processor time that making `concepts` took
};

// Rows [first, first + count): views of the same memory.
SlotInput rows_of(const SlotInput& input, std::int64_t first, std::int64_t count);

struct SlotOutput {
  at::Tensor image_BD;              // unit rows, float32, with their graphs; undefined without pairs()
  std::vector<at::Tensor> text_BD;  // one per pair of the loss: raw texts, synthetic captions
  at::Tensor head_loss_H;           // float32, sums over the rows, one per concept head; undefined without
  at::Tensor statistics;            // float32 [statistics_numbers()], undefined when that is 0
  at::Tensor head_count_H;  // float64 on the CPU, what head_loss_H sums over; undefined: rows with targets
};

class TrainableModel {
 public:
  virtual ~TrainableModel() = default;
  // False: no contrastive loss, embed() gives head losses alone (a captioner).
  virtual bool pairs() const { return true; }
  // Called by several threads at once; changes nothing, and a row of the result is a function of that row of
  // the input alone, whatever rows stand beside it.
  virtual SlotOutput embed(const SlotInput& input) = 0;
  // In a fixed order; float32 leaves that require gradients, temperature and bias among them where learnt.
  virtual NamedTensors parameters() = 0;
  virtual at::Tensor temperature() = 0;             // scalar, see losses::Temperature
  virtual at::Tensor sigmoid_bias() { return {}; }  // scalar; undefined but for the sigmoid loss
  // Parameters have changed.
  virtual void updated() {}
  // What a checkpoint holds beside the model's own tensors, sharing memory, and back (kDamaged).
  virtual NamedTensors extra_state() const { return {}; }
  virtual void load_extra_state(const NamedTensors& /*state*/) {}
  // What embed() saw and the model keeps (moving statistics of batch norms), summed over all slots of the
  // global batch and handed back once per update, in the thread that updates.
  virtual std::int64_t statistics_numbers() const { return 0; }
  virtual void absorb_statistics(const at::Tensor& /*sum*/) {}
};

}  // namespace trireme::worker::stages::train

// How samples become embeddings, wherever that is done: by embed (for evaluate, index, pair_scores and
// training), by a concepts teacher, and while training is evaluated. Pictures are resized and cut at the
// centre; captions are all a sample has, in their order. Without gradients, on the calling thread; with one
// intra-op thread the bits depend on the samples of a batch alone. Legend: b samples of the batch that have
// an image, c their captions, T width of a tower, D of the shared space.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "worker/data/batches/order.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/embedding/feature_table.h"
#include "worker/embedding/kept_pictures.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::embedding {

// All live longer than what looks into them.
struct Shard {
  const data::ShardReader* reader = nullptr;
  const FeatureTable* stored = nullptr;    // outputs of frozen towers; null: none
  const KeptPictures* pictures = nullptr;  // decoded before, of the tower's geometry; null: none
};

struct ImageTower {
  jobs::ImagePreprocess preprocess;
  std::int64_t width = 0;
  bool stored = false;  // the shards' stored rows stand for it: no picture is read
  std::function<at::Tensor(const at::Tensor& image_BCHW)> run;  // thread-safe, [B, T]
};

struct ImageRows {
  std::vector<data::SamplePosition> samples;  // b of those asked for, in their order
  at::Tensor features_bT;                     // on the device, as the tower gives them
  // The others and why: a fault of decode_image, or "no_stored_feature" (embed could not decode it).
  std::vector<std::pair<data::SamplePosition, std::string>> faults;
};

// Throws kInvalid naming `tower` ("image", "text") when stored rows are not as wide as the model's.
void check_width(std::int64_t stored, std::int64_t width, const char* tower);

// Positions in the only shard.
std::vector<data::SamplePosition> of_one_shard(const std::vector<std::int64_t>& samples);

// Outputs of an image tower. Thread-safe. `samples`: positions in `shards`.
ImageRows image_rows(const std::vector<Shard>& shards, const std::vector<data::SamplePosition>& samples,
                     const ImageTower& tower, const std::string& device);

struct EncoderOptions {
  bool image = true, text = true;                    // towers to run
  bool stored_images = false, stored_texts = false;  // the shards' stored rows stand for them
  bool project = false;                              // into the shared space
  bool bf16 = false;
  std::string device = "cpu";
  std::vector<std::string> classes, templates;  // as in data::captions_of()
  std::string caption_prompt = {};              // captions are put into its {c}; empty: as they are
  std::int64_t texts_at_once = 64;
};

struct EncodedBatch {
  std::vector<data::SamplePosition> samples;  // b
  at::Tensor image;                           // float32 [b, T or D] on the CPU, undefined when images are off
  at::Tensor text;                            // float32 [c, …] on the CPU, undefined when texts are off
  std::vector<std::int64_t> owner;            // c rows of `samples`
  std::vector<std::int64_t> labels;           // b, -1 for none
  std::int64_t truncated = 0;
  std::map<std::string, std::int64_t>
      bad;  // samples without an image by reason; left out of all of the above
};

class Encoder {
 public:
  // `model` lives longer. Throws kInvalid when stored rows do not fit it.
  Encoder(std::vector<Shard> shards, models::DualEncoder& model, EncoderOptions options);

  // Thread-safe.
  EncodedBatch encode(const std::vector<data::SamplePosition>& samples) const;

 private:
  void encode_images(const std::vector<data::SamplePosition>& samples, EncodedBatch& batch) const;
  void encode_captions(EncodedBatch& batch) const;
  void look_up_captions(EncodedBatch& batch) const;

  std::vector<Shard> shards_;
  models::DualEncoder& model_;
  EncoderOptions options_;
  ImageTower tower_;
};

// Rows of a tower as embeddings of the shared space: [n, T] -> float32 [n, D] on the CPU.
at::Tensor project_images(models::DualEncoder& model, const std::string& device, const at::Tensor& rows_nT);
at::Tensor project_texts(models::DualEncoder& model, const std::string& device, const at::Tensor& rows_nT);

}  // namespace trireme::worker::embedding

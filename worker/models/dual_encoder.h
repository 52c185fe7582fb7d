// Image tower, text tower, two linear projections into one space and the temperature (METHODS 4.1, 3.2).
// Parameters carry open_clip's names where the towers are CLIP's ("visual.…", "transformer.…",
// "logit_scale"). Legend: B images, N captions, L tokens, T tower width, D shared width.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/specification/image_preprocess.h"
#include "jobs/specification/model_spec.h"
#include "worker/nn/forward_context.h"
#include "worker/text/tokenizers/tokenizer.h"

namespace trireme::worker::models {

class CaptionDecoder;

class DualEncoder {
 public:
  // Builds both towers, each tensor allocated once; weights of TowerSpec::weights are loaded into them
  // (jobs/store/published.h), the rest is drawn from (seed, tensor name), whatever the order of construction.
  // Fields that the spec leaves open are taken from the config beside the weights (jobs/checkpoint).
  DualEncoder(const jobs::ModelSpec& spec, std::uint64_t seed);
  ~DualEncoder();

  const jobs::ModelSpec& spec() const;
  jobs::ImagePreprocess image_preprocess() const;
  const text::Tokenizer& tokenizer() const;
  const std::string& vocabulary_path() const;  // "" for hashed_words
  std::int64_t image_tower_width() const;      // of image_features(): after the tower, before the projection
  std::int64_t text_tower_width() const;

  // Tower outputs, [B, T]. A tower's own final projection (CLIP's visual.proj) counts as the projection, not
  // the tower.
  // Without a context: evaluation. A frozen tower always evaluates.
  at::Tensor image_features(const at::Tensor& image_BCHW, const nn::ForwardContext& context = {});
  // tokens: int64, padded with pad_id to the longest of the batch.
  at::Tensor text_features(const at::Tensor& tokens_NL, const nn::ForwardContext& context = {});

  // A model whose text.kind is "decoder" is a captioner (captioner/captioner.h): it has a decoder instead of
  // a text tower, reads image tokens [B, S, T], and has no projections and no text features (kInvalid).
  const CaptionDecoder* decoder() const;  // null without one
  at::Tensor image_tokens(const at::Tensor& image_BCHW, const nn::ForwardContext& context = {}) const;

  // Projections and L2 norm: [B, T] -> [B, D] in float32, rows of norm 1.
  at::Tensor project_image(const at::Tensor& features_BT);
  at::Tensor project_text(const at::Tensor& features_NT);

  at::Tensor encode_image(const at::Tensor& image_BCHW) { return project_image(image_features(image_BCHW)); }
  at::Tensor encode_text(const at::Tensor& tokens_NL) { return project_text(text_features(tokens_NL)); }

  // Batch norms whose stored statistics move in training: channels of all together (0: none), and one step's
  // update from nn::BatchStatistics::numbers() summed over the slots of the global batch,
  //   stored = (1 - momentum) stored + momentum * (mean over all groups).
  // The only state that a training step changes beside the parameters; not thread-safe.
  std::int64_t norm_channels() const;
  void absorb_norm_statistics(const at::Tensor& numbers);
  std::vector<std::pair<std::string, at::Tensor>> moving_buffers();

  at::Tensor logit_scale();  // scalar parameter ln(1/temperature)

  // Feature standardisation (mean, 1/(std + 1e-3)) applied in project_*; buffers "image_mean",
  // "image_inverse_std", "text_…". Only for towers whose features are stored; identity until set.
  void set_image_standardization(const at::Tensor& mean_T, const at::Tensor& inverse_std_T);
  void set_text_standardization(const at::Tensor& mean_T, const at::Tensor& inverse_std_T);

  at::Tensor image_mean() const;  // [T], undefined without standardisation

  // In a fixed order that depends only on the spec. Frozen towers have no trainable parameters.
  std::vector<std::pair<std::string, at::Tensor>> trainable_parameters();
  std::vector<std::pair<std::string, at::Tensor>>
  state();  // every parameter and buffer, frozen towers included
  void load_state(
      const std::vector<std::pair<std::string, at::Tensor>>& state);  // by name; faults listed at once

  void to(const std::string& device);

  // Model folder: model.safetensors (state()) and config.json (model_json() and provenance). The inverse
  // needs no other file than the tokenizer's vocabulary, which is copied into the folder.
  void save(const std::string& folder, const std::string& provenance_json) const;
  static std::unique_ptr<DualEncoder> load(const std::string& folder);

 private:
  void blend(const jobs::BlendSpec& blend, std::uint64_t seed);
  friend void check_named_weights(const jobs::ModelSpec& spec);
  struct State;
  explicit DualEncoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Whether the weights that the spec names (weights, init_from) are there and fit, by their headers and
// config.json. Throws what the constructor would.
void check_named_weights(const jobs::ModelSpec& spec);

// [N, L] int64 on the CPU, padded to the longest caption of the batch.
struct TokenBatch {
  at::Tensor tokens_NL;
  std::int64_t truncated = 0;
};
TokenBatch tokenize(const text::Tokenizer& tokenizer, const std::vector<std::string>& captions,
                    std::int64_t context);

// `vocabulary`: resolved path, "" for hashed_words.
std::unique_ptr<text::Tokenizer> tokenizer_of(jobs::TokenizerSpec words, const std::string& vocabulary);

}  // namespace trireme::worker::models

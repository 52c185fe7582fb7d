// A captioner: a model whose text.kind is "decoder" with what turns its tokens into words and back (METHODS
// 6). BLIP is one by its weights (init_from), Trireme's own any image tower with a decoder of any size.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "worker/models/captioner/write_captions.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::models {

class Captioner {
 public:
  // `model` must outlive this object; its tensors may change. Throws kInvalid when it has no decoder.
  explicit Captioner(const DualEncoder& model);

  const CaptionDecoder& decoder() const { return decoder_; }
  std::int64_t end_id() const { return model_.tokenizer().end_id(); }
  std::int64_t pad_id() const { return model_.tokenizer().pad_id(); }

  // Start mark and the tokens of `prompt`; the model's own prompt when absent.
  std::vector<std::int64_t> start(const std::optional<std::string>& prompt = std::nullopt) const;

  // What training feeds: the model's prompt and each caption, cut at its context, behind the start mark.
  TokenBatch tokenize(const std::vector<std::string>& captions) const;

  // The words of ids; ids that are no words (marks, TextTowerSpec::extra_tokens) are left out.
  std::string words(const std::vector<std::int64_t>& ids) const;

  // Of images [B, 3, H, W], preprocessed as the model's image_preprocess() says. The end mark of
  // options.rules is filled in.
  std::vector<WrittenCaption> write(const at::Tensor& image_BCHW, const std::vector<std::int64_t>& start,
                                    DecodingOptions options, const std::vector<std::uint64_t>& keys = {},
                                    const std::function<void()>& poll = {}) const;

 private:
  const DualEncoder& model_;
  const CaptionDecoder& decoder_;
  std::int64_t begin_id_;
};

// 32 hex digits of every tensor's name, shape and bytes, and of what else decides what it writes: the same
// for the same model wherever it came from.
std::string fingerprint(DualEncoder& model);

}  // namespace trireme::worker::models

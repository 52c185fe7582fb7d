#include "worker/models/encode_texts.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace trireme::worker::models {

EncodedTexts encode_texts(DualEncoder& model, const std::string& device,
                          const std::vector<std::string>& texts, bool project, std::int64_t at_once) {
  const at::NoGradGuard no_gradients;
  const auto width = project ? model.spec().embed_dim : model.text_tower_width();
  const auto count = static_cast<std::int64_t>(texts.size());
  EncodedTexts out{at::empty({count, width}, at::kFloat), 0};
  for (std::int64_t first = 0; first < count; first += at_once) {
    const auto last = std::min(count, first + at_once);
    const auto batch =
        tokenize(model.tokenizer(), {texts.begin() + first, texts.begin() + last}, model.spec().text.context);
    const auto tokens = batch.tokens_NL.to(at::Device(device));
    out.rows.narrow(0, first, last - first)
        .copy_(project ? model.encode_text(tokens) : model.text_features(tokens));
    out.truncated += batch.truncated;
  }
  return out;
}

}  // namespace trireme::worker::models

#include "worker/embedding/texts.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "jobs/layouts/line_list.h"
#include "worker/evaluation/zero_shot.h"

namespace trireme::worker::embedding {

EncodedTexts encode_texts(models::DualEncoder& model, const std::string& device,
                          const std::vector<std::string>& texts, bool project, std::int64_t at_once) {
  const at::NoGradGuard no_gradients;
  const auto width = project ? model.spec().embed_dim : model.text_tower_width();
  const auto count = static_cast<std::int64_t>(texts.size());
  EncodedTexts out{at::empty({count, width}, at::kFloat), 0};
  for (std::int64_t first = 0; first < count; first += at_once) {
    const auto last = std::min(count, first + at_once);
    const auto batch = models::tokenize(model.tokenizer(), {texts.begin() + first, texts.begin() + last},
                                        model.spec().text.context);
    const auto tokens = batch.tokens_NL.to(at::Device(device));
    out.rows.narrow(0, first, last - first)
        .copy_(project ? model.encode_text(tokens) : model.text_features(tokens));
    out.truncated += batch.truncated;
  }
  return out;
}

at::Tensor class_vectors(models::DualEncoder& model, const std::string& device,
                         const std::vector<std::string>& classes, const std::vector<std::string>& templates,
                         std::int64_t at_once) {
  const auto prompts =
      encode_texts(model, device, evaluation::class_prompts(classes, templates), /*project=*/true, at_once);
  return evaluation::class_embeddings(prompts.rows, static_cast<std::int64_t>(classes.size()));
}

std::vector<std::string> prompt_templates(const std::string& shard) {
  auto templates = jobs::class_templates_near(shard);
  return templates.empty() ? std::vector<std::string>{"a photo of a {c}."} : templates;
}

}  // namespace trireme::worker::embedding

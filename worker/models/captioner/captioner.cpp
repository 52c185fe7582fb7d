#include "worker/models/captioner/captioner.h"

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "common/io/hash.h"

namespace trireme::worker::models {
namespace {

const CaptionDecoder& decoder_of(const DualEncoder& model) {
  if (model.decoder() != nullptr) return *model.decoder();
  throw Error(
      ErrorKind::kInvalid,
      "the model cannot write captions: its text.kind is " + std::string(name_of(model.spec().text.kind)),
      "use a model whose text.kind is \"decoder\"");
}

}  // namespace

Captioner::Captioner(const DualEncoder& model) : model_(model), decoder_(decoder_of(model)) {
  const text::Tokenizer& tokenizer = model.tokenizer();
  begin_id_ =
      model.spec().text.extra_tokens > 0 ? tokenizer.vocabulary_size() : tokenizer.encode("", 2).ids.front();
}

std::vector<std::int64_t> Captioner::start(const std::optional<std::string>& prompt) const {
  auto ids = model_.tokenizer().encode(prompt.value_or(model_.spec().text.prompt), decoder_.positions()).ids;
  ids.pop_back();
  ids.front() = begin_id_;
  return ids;
}

TokenBatch Captioner::tokenize(const std::vector<std::string>& captions) const {
  const std::string& prompt = model_.spec().text.prompt;
  std::vector<std::string> texts = captions;
  for (std::string& text : texts)
    text.insert(0, prompt.empty() || prompt.ends_with(' ') ? prompt : prompt + " ");
  TokenBatch batch = models::tokenize(model_.tokenizer(), texts, model_.spec().text.context);
  batch.tokens_NL.select(1, 0).fill_(begin_id_);
  return batch;
}

std::string Captioner::words(const std::vector<std::int64_t>& ids) const {
  std::vector<std::int64_t> known;
  for (const std::int64_t id : ids)
    if (id >= 0 && id < model_.tokenizer().vocabulary_size()) known.push_back(id);
  return model_.tokenizer().decode(known);
}

std::vector<WrittenCaption> Captioner::write(const at::Tensor& image_BCHW,
                                             const std::vector<std::int64_t>& start, DecodingOptions options,
                                             const std::vector<std::uint64_t>& keys,
                                             const std::function<void()>& poll) const {
  const at::NoGradGuard no_grad;
  options.rules.end_id = end_id();
  return write_captions(decoder_, model_.image_tokens(image_BCHW), start, options, keys, poll);
}

std::string fingerprint(DualEncoder& model) {
  std::string text;
  for (const auto& [name, tensor] : model.state()) {
    const at::Tensor value = tensor.detach().to(at::kCPU).contiguous();
    text += name;
    for (const std::int64_t size : value.sizes()) text += " " + std::to_string(size);
    text +=
        " " + io::hex(io::xxh3_64({static_cast<const char*>(value.const_data_ptr()), value.nbytes()})) + "\n";
  }
  const auto& words = model.vocabulary_path();
  text += "vocabulary " + (words.empty() ? "" : io::hex(io::xxh3_of_file(words))) + "\n";
  const auto& spec = model.spec();
  text += std::to_string(spec.image.heads) + " " + std::to_string(spec.text.heads) + " " +
          std::to_string(spec.text.extra_tokens) + "\n";
  return io::hex(io::xxh3_128(text));
}

}  // namespace trireme::worker::models

// SentencePiece models (unigram or byte pairs) through libsentencepiece, with the marks of the families that
// use them. Cleaning is caption_cleaning.h's, but for white space: transformers' tokenizers of these families
// split at it whatever the model's own normaliser does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "worker/text/tokenizers/tokenizer.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace trireme::worker::text {

class SentencePiece final : public Tokenizer {
 public:
  // `model_path`: spiece.model, tokenizer.model … `marks`:
  //   t5, kUnset   pieces, </s>; padded with <pad>
  //   siglip       pieces, </s>; padded with </s>
  //   xlm_roberta  <s>, pieces, </s>; ids are those of fairseq: <s> 0, <pad> 1, </s> 2, <unk> 3, pieces
  //                one higher, <mask> last
  // Throws kNotFound / kInvalid naming the file.
  SentencePiece(const std::string& model_path, jobs::TokenMarks marks);
  ~SentencePiece() override;

  Tokens encode(std::string_view caption_utf8, std::int64_t context) const override;
  std::string decode(std::span<const std::int64_t> ids) const override;
  std::int64_t vocabulary_size() const override;
  std::int64_t pad_id() const override { return pad_; }
  std::int64_t end_id() const override { return end_; }

 private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  bool fairseq_;
  std::int64_t pad_ = 0, end_ = 1;
};

}  // namespace trireme::worker::text

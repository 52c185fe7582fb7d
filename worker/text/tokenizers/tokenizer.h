// Captions to token ids. Implementations: clip_bpe, wordpiece, hashed_words, sentencepiece (METHODS 5).
// Thread-safe after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/specification/model_spec.h"

namespace trireme::worker::text {

struct Tokens {
  std::vector<std::int64_t> ids;  // with start and end marks, without padding; at most `context`
  bool truncated = false;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // A caption that is too long keeps its first context - 1 ids and the end mark: CLIP's, DiHT's, ALIP's and
  // BERT's rule alike. Throws kInvalid for a context below 2.
  virtual Tokens encode(std::string_view caption_utf8, std::int64_t context) const = 0;
  // The text that ids stand for, marks left out, as the reference tokenizer writes it. Throws kInvalid for an
  // id outside the vocabulary, and always for hashed_words.
  virtual std::string decode(std::span<const std::int64_t> ids) const = 0;
  virtual std::int64_t vocabulary_size() const = 0;
  virtual std::int64_t pad_id() const = 0;
  virtual std::int64_t end_id() const = 0;  // the last token of every sequence
};

// `spec.vocabulary`: a resolved path. Throws kNotFound / kInvalid naming the file and line.
std::unique_ptr<Tokenizer> make_tokenizer(const jobs::TokenizerSpec& spec);

}  // namespace trireme::worker::text

// Captions to token ids. Implementations: clip_bpe, wordpiece, hashed_words, sentencepiece (METHODS 5).
// Thread-safe after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

// As TokenizerSpec, but for `vocabulary`, which is a resolved path.
struct TokenizerOptions {
  std::string kind;
  std::string vocabulary;
  std::int64_t buckets = 4096;        // hashed_words
  bool lower_case = true;             // clip_bpe, wordpiece
  std::optional<bool> strip_accents;  // wordpiece; as lower_case when absent
  bool split_ideographs = true;       // wordpiece
  bool unescape_html = true;          // clip_bpe
  bool collapse_space = true;         // clip_bpe
  bool repair_text = false;           // clip_bpe
  std::string cleaning;    // caption_cleaning.h, before any of them and instead of the switches above
  bool strip_end = false;  // wordpiece: padding where the end mark stood
  std::string marks;       // sentencepiece
};

// Throws kNotFound / kInvalid naming the file and line.
std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerOptions& options);

}  // namespace trireme::worker::text

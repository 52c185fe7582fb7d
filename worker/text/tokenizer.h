// Captions to token ids. Implementations: clip_bpe, wordpiece, hashed_words (METHODS 5). Thread-safe after
// construction.
#pragma once

#include <cstdint>
#include <memory>
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
  virtual Tokens encode(std::string_view caption_utf8, std::int64_t context) const = 0;
  virtual std::int64_t vocabulary_size() const = 0;
  virtual std::int64_t pad_id() const = 0;
  virtual std::int64_t end_id() const = 0;  // the last token of every sequence
};

// kind as in TokenizerSpec; `vocabulary` is a resolved path. Throws kNotFound / kInvalid naming the file and
// line.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& kind, const std::string& vocabulary,
                                          std::int64_t buckets);

}  // namespace trireme::worker::text

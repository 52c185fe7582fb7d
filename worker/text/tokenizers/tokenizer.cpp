#include "worker/text/tokenizers/tokenizer.h"

#include <algorithm>

#include "common/base/error.h"
#include "worker/text/caption_cleaning.h"
#include "worker/text/tokenizers/clip_bpe.h"
#include "worker/text/tokenizers/hashed_words.h"
#include "worker/text/tokenizers/sentence_piece.h"
#include "worker/text/tokenizers/wordpiece.h"

namespace trireme::worker::text {
namespace {

// Cleans first, and may take the end marks away afterwards.
class Prepared final : public Tokenizer {
 public:
  Prepared(std::unique_ptr<Tokenizer> inner, std::string cleaning, bool strip_end)
      : inner_(std::move(inner)), cleaning_(std::move(cleaning)), strip_end_(strip_end) {}

  Tokens encode(std::string_view caption, std::int64_t context) const override {
    Tokens tokens =
        inner_->encode(cleaning_.empty() ? std::string(caption) : clean_caption(caption, cleaning_), context);
    if (strip_end_) std::replace(tokens.ids.begin(), tokens.ids.end(), inner_->end_id(), inner_->pad_id());
    return tokens;
  }
  std::string decode(std::span<const std::int64_t> ids) const override { return inner_->decode(ids); }
  std::int64_t vocabulary_size() const override { return inner_->vocabulary_size(); }
  std::int64_t pad_id() const override { return inner_->pad_id(); }
  std::int64_t end_id() const override { return inner_->end_id(); }

 private:
  std::unique_ptr<Tokenizer> inner_;
  std::string cleaning_;
  bool strip_end_;
};

std::unique_ptr<Tokenizer> plain_tokenizer(const TokenizerOptions& options) {
  const bool own = options.cleaning.empty();
  if (options.kind == "clip_bpe")
    return std::make_unique<ClipBpe>(options.vocabulary,
                                     own ? ClipCleaning{options.unescape_html, options.collapse_space,
                                                        options.lower_case, options.repair_text}
                                         : ClipCleaning{false, false, false, false});
  if (options.kind == "wordpiece")
    return std::make_unique<WordPiece>(
        options.vocabulary, BertRules{options.lower_case, options.strip_accents.value_or(options.lower_case),
                                      options.split_ideographs});
  if (options.kind == "hashed_words") return std::make_unique<HashedWords>(options.buckets);
  if (options.kind == "sentencepiece")
    return std::make_unique<SentencePiece>(options.vocabulary, options.marks.empty() ? "t5" : options.marks);
  throw Error(ErrorKind::kInvalid, "unknown tokenizer kind '" + options.kind + "'",
              "known are clip_bpe, wordpiece, hashed_words and sentencepiece");
}

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerOptions& options) {
  auto tokenizer = plain_tokenizer(options);
  if (options.cleaning.empty() && !options.strip_end) return tokenizer;
  return std::make_unique<Prepared>(std::move(tokenizer), options.cleaning, options.strip_end);
}

}  // namespace trireme::worker::text

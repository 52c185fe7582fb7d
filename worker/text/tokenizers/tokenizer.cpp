#include "worker/text/tokenizers/tokenizer.h"

#include <algorithm>

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
  Prepared(std::unique_ptr<Tokenizer> inner, jobs::CaptionCleaning cleaning, bool strip_end)
      : inner_(std::move(inner)), cleaning_(cleaning), strip_end_(strip_end) {}

  Tokens encode(std::string_view caption, std::int64_t context) const override {
    Tokens tokens = inner_->encode(clean_caption(caption, cleaning_), context);
    if (strip_end_) std::replace(tokens.ids.begin(), tokens.ids.end(), inner_->end_id(), inner_->pad_id());
    return tokens;
  }
  std::string decode(std::span<const std::int64_t> ids) const override { return inner_->decode(ids); }
  std::int64_t vocabulary_size() const override { return inner_->vocabulary_size(); }
  std::int64_t pad_id() const override { return inner_->pad_id(); }
  std::int64_t end_id() const override { return inner_->end_id(); }

 private:
  std::unique_ptr<Tokenizer> inner_;
  jobs::CaptionCleaning cleaning_;
  bool strip_end_;
};

std::unique_ptr<Tokenizer> plain_tokenizer(const jobs::TokenizerSpec& spec) {
  const bool own = spec.cleaning == jobs::CaptionCleaning::kUnset;
  if (spec.kind == jobs::TokenizerKind::kClipBpe)
    return std::make_unique<ClipBpe>(
        spec.vocabulary,
        own ? ClipCleaning{spec.unescape_html, spec.collapse_space, spec.lower_case, spec.repair_text}
            : ClipCleaning{false, false, false, false});
  if (spec.kind == jobs::TokenizerKind::kWordPiece)
    return std::make_unique<WordPiece>(
        spec.vocabulary,
        BertRules{spec.lower_case, spec.strip_accents.value_or(spec.lower_case), spec.split_ideographs});
  if (spec.kind == jobs::TokenizerKind::kHashedWords) return std::make_unique<HashedWords>(spec.buckets);
  return std::make_unique<SentencePiece>(spec.vocabulary, spec.marks);
}

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const jobs::TokenizerSpec& spec) {
  auto tokenizer = plain_tokenizer(spec);
  if (spec.cleaning == jobs::CaptionCleaning::kUnset && !spec.strip_end) return tokenizer;
  return std::make_unique<Prepared>(std::move(tokenizer), spec.cleaning, spec.strip_end);
}

}  // namespace trireme::worker::text

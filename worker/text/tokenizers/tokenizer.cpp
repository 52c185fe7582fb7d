#include "worker/text/tokenizers/tokenizer.h"

#include "common/base/error.h"
#include "worker/text/tokenizers/clip_bpe.h"
#include "worker/text/tokenizers/hashed_words.h"
#include "worker/text/tokenizers/wordpiece.h"

namespace trireme::worker::text {

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerOptions& options) {
  if (options.kind == "clip_bpe")
    return std::make_unique<ClipBpe>(
        options.vocabulary,
        ClipCleaning{options.unescape_html, options.collapse_space, options.lower_case, options.repair_text});
  if (options.kind == "wordpiece")
    return std::make_unique<WordPiece>(
        options.vocabulary, BertRules{options.lower_case, options.strip_accents.value_or(options.lower_case),
                                      options.split_ideographs});
  if (options.kind == "hashed_words") return std::make_unique<HashedWords>(options.buckets);
  throw Error(ErrorKind::kInvalid, "unknown tokenizer kind '" + options.kind + "'",
              "known are clip_bpe, wordpiece and hashed_words");
}

}  // namespace trireme::worker::text

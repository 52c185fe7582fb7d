#include "worker/text/tokenizer.h"

#include "common/base/error.h"
#include "worker/text/clip_bpe.h"
#include "worker/text/hashed_words.h"
#include "worker/text/wordpiece.h"

namespace trireme::worker::text {

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& kind, const std::string& vocabulary,
                                          std::int64_t buckets) {
  if (kind == "clip_bpe") return std::make_unique<ClipBpe>(vocabulary);
  if (kind == "wordpiece") return std::make_unique<WordPiece>(vocabulary);
  if (kind == "hashed_words") return std::make_unique<HashedWords>(buckets);
  throw Error(ErrorKind::kInvalid, "unknown tokenizer kind '" + kind + "'",
              "known are clip_bpe, wordpiece and hashed_words");
}

}  // namespace trireme::worker::text

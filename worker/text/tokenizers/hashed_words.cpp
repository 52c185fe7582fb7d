#include "worker/text/tokenizers/hashed_words.h"

#include <string>

#include "common/base/error.h"
#include "common/io/hash.h"
#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

constexpr std::int64_t kSpecials = 3, kStart = 1, kEnd = 2;

bool in_word(CharClass kind) {
  return kind == CharClass::kLetter || kind == CharClass::kMark || kind == CharClass::kNumber;
}

}  // namespace

HashedWords::HashedWords(std::int64_t buckets) : buckets_(buckets) {
  if (buckets < 16)
    throw Error(ErrorKind::kInvalid,
                "hashed_words needs at least 16 buckets, not " + std::to_string(buckets));
}

Tokens HashedWords::encode(std::string_view caption_utf8, std::int64_t context) const {
  if (context < 2)
    throw Error(ErrorKind::kInvalid, "a context of " + std::to_string(context) + " tokens is too short");
  const auto most = static_cast<std::size_t>(context);
  Tokens tokens;
  tokens.ids.push_back(kStart);
  const std::string text = lower_case(nfc(caption_utf8));
  for (std::size_t at = 0; at < text.size() && tokens.ids.size() < most;) {
    const std::size_t start = at;
    const CharClass kind = classify(next_code_point(text, at));
    if (kind == CharClass::kSpace || kind == CharClass::kControl) continue;
    while (in_word(kind) && at < text.size()) {
      std::size_t next = at;
      if (!in_word(classify(next_code_point(text, next)))) break;
      at = next;
    }
    const std::uint64_t hash = io::xxh3_64(std::string_view(text).substr(start, at - start));
    tokens.ids.push_back(kSpecials +
                         static_cast<std::int64_t>(hash % static_cast<std::uint64_t>(buckets_ - kSpecials)));
  }
  tokens.truncated = tokens.ids.size() + 1 > most;
  if (tokens.truncated) tokens.ids.resize(most - 1);
  tokens.ids.push_back(kEnd);
  return tokens;
}

std::string HashedWords::decode(std::span<const std::int64_t>) const {
  throw Error(ErrorKind::kInvalid, "hashed words cannot be turned back into text",
              "use a tokenizer with a vocabulary: clip_bpe or wordpiece");
}

}  // namespace trireme::worker::text

// Any bytes as a caption: repaired, cleaned, taken apart, parsed and made tokens. Nothing may crash; cleaning
// what is clean changes nothing. Seeds: captions in many scripts.
#include <algorithm>
#include <cstdlib>

#include "worker/text/caption_cleaning.h"
#include "worker/text/language.h"
#include "worker/text/parser/caption_parser.h"
#include "worker/text/tokenizers/caption_words.h"
#include "worker/text/tokenizers/tokenizer.h"
#include "worker/text/words.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme;
  using namespace trireme::worker::text;
  const std::string_view caption(reinterpret_cast<const char*>(data), std::min<std::size_t>(size, 4096));
  for (const auto cleaning : {jobs::CaptionCleaning::kWhitespace, jobs::CaptionCleaning::kLower,
                              jobs::CaptionCleaning::kCanonicalize, jobs::CaptionCleaning::kPlain,
                              jobs::CaptionCleaning::kUnpunctuated})
    clean_caption(caption, cleaning);
  const std::string normal = normalized_text(caption);
  if (normalized_text(normal) != normal) std::abort();
  unigrams(caption);
  caption_words(caption);
  language_of(caption);
  static const CaptionParser parser(Lexicon::standard());
  static ParsedCaption parsed;
  parser.parse(caption, parsed);
  complexity(parsed, true);
  return 0;
}

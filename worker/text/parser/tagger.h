// Part of speech per token of an English caption: closed-class words by list, open-class words by the
// lexicon and their endings, and the best sequence by a Viterbi search over hand-set scores of neighbouring
// tags (tag_steps.cpp). Time is linear in the tokens. Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "worker/text/parser/caption_tokens.h"
#include "worker/text/parser/lexicon.h"

namespace trireme::worker::text {

enum class Tag : std::uint8_t {
  kDeterminer,  // a, the, this, some, his, her
  kGenitive,    // 's after an owner
  kNumber,      // two, 1920, 3rd
  kAdjective,   // also participles before a noun
  kNoun,        // singular or mass
  kPlural,
  kName,  // capitals, files, codes
  kPronoun,
  kVerbBase,
  kVerbS,
  kGerund,     // -ing
  kPast,       // -ed, past and participle alike
  kAuxiliary,  // be, have, do in any form, alone too
  kModal,      // can, will, may
  kTo,
  kAdverb,
  kPreposition,   // also the first word of "in front of", whose other words are kInside
  kParticle,      // up, out, off behind a verb
  kConjunction,   // and, or, &
  kSubordinator,  // while, as, when, because
  kRelative,      // who, which, that
  kStop,          // . ; : ! ? | ( ) and dashes
  kComma,
  kInside,  // a later word of a phrase that one token stands for
};
inline constexpr std::size_t kTagCount = 24;

struct TaggedToken {
  CaptionToken token;
  WordReadings readings;  // of open-class words
  Tag tag = Tag::kNoun;
};

class Tagger {
 public:
  explicit Tagger(std::shared_ptr<const Lexicon> lexicon) : lexicon_(std::move(lexicon)) {}
  // Fills `out` (cleared first), one entry per token.
  void tag(const std::vector<CaptionToken>& tokens, std::vector<TaggedToken>& out) const;

 private:
  std::shared_ptr<const Lexicon> lexicon_;
};

// [from][to], in units of a natural logarithm; kStop stands for the beginning and the end too.
using TagSteps = std::array<std::array<float, kTagCount>, kTagCount>;
const TagSteps& tag_steps();

// A word with one or two tags, the first with its share. nullptr for open-class words.
struct ClosedWord {
  std::string_view word;
  Tag first = Tag::kNoun, second = Tag::kNoun;
  float share = 1;  // of `first`; `second` has the rest
};
const ClosedWord* closed_word(std::string_view lower);

// Words of the longest preposition phrase ("in front of") that starts at `at`; 1 when there is none.
std::size_t preposition_words(const std::vector<CaptionToken>& tokens, std::size_t at);

}  // namespace trireme::worker::text

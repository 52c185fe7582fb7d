// A WordPiece vocabulary from word counts, by the rules of Hugging Face's WordPieceTrainer: the characters of
// the corpus, as starts and with "##", then the most frequent adjacent pair becomes a piece, again and again.
// Deterministic where that one follows the order of its hash tables: characters stand in the order of their
// code points, starts first, and of two equally frequent characters at the limit the smaller one stays. Given
// the same ids of the characters, all pieces and their order are the same (of two pairs with equal counts the
// one with the smaller ids comes first, in both).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "worker/text/word_counts.h"

namespace trireme::worker::text {

struct VocabularyRules {
  std::int64_t size = 100000;                   // pieces in all
  std::uint64_t min_count = 1;                  // of a pair, to become a piece
  std::optional<std::int64_t> most_characters;  // the rarest beyond are left out, and words lose them
  std::vector<std::string> marks{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
};

// `words` are distinct, in any order. Fewer pieces than `size` when no pair is left. Throws kInvalid when
// marks and characters alone are more than `size`. `stopped` is asked between pieces and may throw.
// Memory: about 60 bytes per distinct word and 12 per character of it.
std::vector<std::string> train_vocabulary(const std::vector<WordCount>& words, const VocabularyRules& rules,
                                          const std::function<void(std::size_t pieces)>& stopped = {});

}  // namespace trireme::worker::text

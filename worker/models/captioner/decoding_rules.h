// What may not, or shall less often, come next in a caption: Hugging Face's repetition penalty, no-repeat
// n-grams and least length, in that order (BLIP's generate).
#pragma once

#include <cstdint>
#include <vector>

namespace trireme::worker::models {

struct DecodingRules {
  double repetition_penalty = 1;     // of every token that stands in the caption, start and prompt included
  std::int64_t no_repeat_ngram = 0;  // 0: off
  std::int64_t min_length = 0;       // tokens, start and prompt included, before the end mark may come
  std::int64_t end_id = 0;

  bool any() const { return repetition_penalty != 1 || no_repeat_ngram > 0 || min_length > 0; }

  // `ids`: the caption so far. Scores are scores_V[v] - shift: the penalty divides those above 0 and
  // multiplies the others; what is forbidden becomes minus infinity.
  void apply(const std::vector<std::int64_t>& ids, double shift, float* scores_V) const;
};

}  // namespace trireme::worker::models

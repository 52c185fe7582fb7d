#include "worker/models/captioner/decoding_rules.h"

#include <algorithm>
#include <limits>
#include <set>

namespace trireme::worker::models {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// Tokens that would repeat an n-gram whose first n - 1 tokens end the caption.
void forbid_repeats(const std::vector<std::int64_t>& ids, std::int64_t ngram, float* scores_V) {
  const auto size = static_cast<std::int64_t>(ids.size()), prefix = ngram - 1;
  for (std::int64_t first = 0; first + prefix < size; ++first)
    if (std::equal(ids.begin() + first, ids.begin() + first + prefix, ids.end() - prefix))
      scores_V[ids[static_cast<std::size_t>(first + prefix)]] = kForbidden;
}

}  // namespace

void DecodingRules::apply(const std::vector<std::int64_t>& ids, double shift, float* scores_V) const {
  if (repetition_penalty != 1)
    for (const std::int64_t id : std::set<std::int64_t>(ids.begin(), ids.end())) {
      const double score = static_cast<double>(scores_V[id]) - shift;
      scores_V[id] =
          static_cast<float>(shift + (score < 0 ? score * repetition_penalty : score / repetition_penalty));
    }
  if (no_repeat_ngram > 0 && static_cast<std::int64_t>(ids.size()) >= no_repeat_ngram)
    forbid_repeats(ids, no_repeat_ngram, scores_V);
  if (static_cast<std::int64_t>(ids.size()) < min_length) scores_V[end_id] = kForbidden;
}

}  // namespace trireme::worker::models

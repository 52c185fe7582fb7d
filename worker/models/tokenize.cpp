#include <algorithm>

#include <ATen/ATen.h>

#include "worker/models/dual_encoder.h"

namespace trireme::worker::models {

std::unique_ptr<text::Tokenizer> tokenizer_of(jobs::TokenizerSpec words, const std::string& vocabulary) {
  words.vocabulary = vocabulary;
  return text::make_tokenizer(words);
}

TokenBatch tokenize(const text::Tokenizer& tokenizer, const std::vector<std::string>& captions,
                    std::int64_t context) {
  TokenBatch batch;
  std::vector<text::Tokens> rows;
  std::size_t longest = 1;
  for (const std::string& caption : captions) {
    rows.push_back(tokenizer.encode(caption, context));
    longest = std::max(longest, rows.back().ids.size());
    batch.truncated += rows.back().truncated ? 1 : 0;
  }
  const auto count = static_cast<std::int64_t>(captions.size()), length = static_cast<std::int64_t>(longest);
  batch.tokens_NL = at::full({count, length}, tokenizer.pad_id(), at::kLong);
  std::int64_t* const data = batch.tokens_NL.data_ptr<std::int64_t>();
  for (std::size_t row = 0; row < rows.size(); ++row)
    std::copy(rows[row].ids.begin(), rows[row].ids.end(), data + row * longest);
  return batch;
}

}  // namespace trireme::worker::models

// Decoding: the captions of a batch of images, token for token as Hugging Face's generate writes them with
// the same options (greedy and beam; nucleus draws from the same distribution with numbers of our own).
//
//   greedy   the likeliest token, after the rules
//   beam     per image the `beams` best captions by sum of log-probabilities after the rules; a caption that
//            ends scores its sum / tokens^length_penalty; an image is done when it has `beams` ended ones and
//            its best open one cannot beat the worst of them
//   nucleus  a draw from the likeliest tokens of softmax(logits / temperature) that together have top_p
//
// An image whose caption has ended leaves the batch when half of the batch has.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/specification/stages/caption_spec.h"
#include "worker/models/captioner/caption_decoder.h"
#include "worker/models/captioner/decoding_rules.h"

namespace trireme::worker::models {

using DecodingMethod = jobs::CaptionMethod;

struct DecodingOptions {
  DecodingMethod method = DecodingMethod::kGreedy;
  std::int64_t beams = 3;  // beam, as is the next
  double length_penalty = 1;
  double top_p = 0.9, temperature = 1;  // nucleus
  std::uint64_t seed = 0;
  std::int64_t max_length = 30;  // tokens, start and prompt included
  DecodingRules rules;
  std::optional<CrossForm> cross_form;  // of caption_decoder.h; the cheaper one when absent
};

struct WrittenCaption {
  std::vector<std::int64_t> ids;  // behind start and prompt, without the end mark
  double log_probability = 0;  // of these tokens and the end mark where it came: the model's, before any rule
  bool ended = false;          // false: cut at max_length
};

// `start`: start mark and prompt, the same for all. `keys`: one per image, for the draws of nucleus: what is
// drawn depends on (seed, key, position) alone. `poll` (may be empty) is called before each step and may
// throw. One caption per image. Throws kInvalid when start leaves no room below max_length, or max_length is
// beyond the decoder's positions.
std::vector<WrittenCaption> write_captions(const CaptionDecoder& decoder, const at::Tensor& image_NSU,
                                           const std::vector<std::int64_t>& start,
                                           const DecodingOptions& options,
                                           const std::vector<std::uint64_t>& keys,
                                           const std::function<void()>& poll = {});

}  // namespace trireme::worker::models

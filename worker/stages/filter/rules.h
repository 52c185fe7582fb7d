// ALIGN's rules on one sample (METHODS 3.1): a pure function of what is known about it. A sample with several
// captions is kept when at least one of them passes all text rules; a labelled sample without text skips
// them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "jobs/spec/stage_spec.h"

namespace trireme::worker::stages::filter {

struct CaptionFacts {
  std::int64_t words = 0;            // text::unigrams()
  std::int64_t images_per_text = 1;  // different images that share the text
};

struct SampleFacts {
  std::string decode_fault;            // a reason of worker/data/image.h, "" when the picture decodes
  std::int64_t width = 0, height = 0;  // of the header, in pixels
  std::vector<CaptionFacts> captions;  // empty: labelled, without text
  std::int64_t texts_per_image = 1;    // different texts of the same picture
};

// Rules by name, in the order in which a verdict lists them:
//   bad_decode, short_side, aspect, texts_per_image, images_per_text, min_words, max_words
struct Verdict {
  bool kept = true;
  std::vector<std::string> rules;      // that dropped the sample; text rules only when no caption passed
  std::vector<std::int64_t> captions;  // positions of the captions that passed
  std::map<std::string, std::int64_t> dropped_captions;  // rule -> captions of this sample that failed it
};

// short side > short_side_over_px; long < aspect_below * short; min_words <= words <= max_words; counts at
// most their limits. An undecodable sample is judged by bad_decode and its texts only.
Verdict judge(const SampleFacts& facts, const jobs::FilterSettings& settings);

// One line of the verdicts file, without newline (jobs/protocol/FORMAT.md).
std::string verdict_line(std::int64_t sample, const std::string& key, const SampleFacts& facts,
                         const Verdict& verdict);

}  // namespace trireme::worker::stages::filter

// The search for one image's caption: which of its open captions go on with which token. Inside of
// write_captions().
#pragma once

#include <cstdint>
#include <vector>

#include "worker/models/captioner/write_captions.h"

namespace trireme::worker::models {

struct OpenCaption {
  std::vector<std::int64_t> ids;  // start and prompt included
  double score = 0;               // sum of log-probabilities after the rules (beam)
  double log_probability = 0;     // sum before the rules
  std::int64_t parent = 0;        // place among the open captions of the step before
};

class CaptionSearch {
 public:
  CaptionSearch(const std::vector<std::int64_t>& start, const DecodingOptions& options, std::uint64_t key);

  const std::vector<OpenCaption>& open() const { return open_; }  // best first; each ends in its new token
  bool done() const { return done_; }

  // One step. `rows`: logits [V] of each open caption, which the rules change in place; `log_sums`: ln sum
  // exp of each row.
  void advance(const std::vector<float*>& rows, const std::vector<float>& log_sums, std::int64_t vocabulary);

  WrittenCaption result() const;  // the best one, when done

 private:
  struct Ended {
    OpenCaption caption;
    double score = 0;
    bool by_mark = false;
  };
  struct Candidate {
    std::int64_t parent = 0, id = 0;
    double score = 0, logit = 0;
  };
  void take_one(float* row, double log_sum, std::int64_t vocabulary);
  void take_beams(const std::vector<float*>& rows, const std::vector<float>& log_sums,
                  std::int64_t vocabulary);
  std::int64_t drawn(float* row, std::int64_t vocabulary) const;
  OpenCaption extended(const Candidate& candidate, double log_sum) const;
  void end(OpenCaption caption, double score, bool by_mark);

  const DecodingOptions& options_;
  std::uint64_t key_;
  std::int64_t start_length_;
  std::vector<OpenCaption> open_;
  std::vector<Ended> ended_;  // best first
  bool done_ = false;
};

}  // namespace trireme::worker::models

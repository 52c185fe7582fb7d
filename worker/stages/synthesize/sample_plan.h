// What sample `id` of a synthetic source is: its scene, captions and known noise, each a pure function of
// (spec, id).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jobs/specification/data_spec.h"
#include "worker/data/images/image.h"
#include "worker/stages/synthesize/scene.h"

namespace trireme::worker::stages::synthesize {

enum class Noise {
  kNone,
  kSwapped,
  kBoilerplate,
  kDuplicate,
  kNearDuplicate,
  kTiny,
  kStretched,
  kForeign,
  kDrawnText
};
std::string_view name_of(Noise noise);  // "none", "swapped", …

// The rule of the filter stage that is expected to drop such a sample, "" when none of today's does.
std::string_view expected_rule(Noise noise);

struct SamplePlan {
  std::int64_t id = 0;
  Noise noise = Noise::kNone;
  std::int64_t copy_of = -1;     // duplicates: an earlier sample without noise
  std::int64_t caption_of = -1;  // swapped: the sample whose captions it has
  Scene scene;
  std::vector<std::string> captions;
};

// Exactly round(fraction * samples) samples of each kind, spread by a keyed permutation. A duplicate that has
// no earlier clean sample to copy (the very first ones) is clean itself. Throws kInvalid when the fractions
// sum to more than 1.
class Planner {
 public:
  explicit Planner(const jobs::SyntheticSpec& spec);
  SamplePlan plan(std::int64_t id) const;
  Noise noise_of(std::int64_t id) const;

  // The JPEG of a planned sample.
  std::string picture(const SamplePlan& plan) const;

  // JSON line of the truth output: sample, key, noise, rule, copy_of, caption_of, captions and scene.
  static std::string truth_line(const SamplePlan& plan);

 private:
  Noise planned_noise(std::int64_t id) const;
  std::int64_t original_of(std::int64_t id) const;
  Scene scene_of(std::int64_t id) const;
  data::Image clean_image(std::int64_t id, std::int64_t side) const;

  jobs::SyntheticSpec spec_;
  std::vector<std::int64_t> ends_;  // of each kind's ranks, in the order of Noise
};

std::string key_of(std::int64_t id);  // nine digits

}  // namespace trireme::worker::stages::synthesize

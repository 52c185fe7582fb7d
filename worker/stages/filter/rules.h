// The rules of the filter on one sample: a pure function of what is known about it. A sample with several
// captions is kept when at least one of them passes all text rules; a labelled sample without text skips
// them. Every rule is judged, also when another one has dropped the sample.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "jobs/specification/stages/stage_spec.h"
#include "worker/data/tallies/ngram_counts.h"
#include "worker/stages/filter/facts.h"

namespace trireme::worker::stages::filter {

// Settings and what had to be looked up for them.
struct RuleBook {
  jobs::FilterSettings settings;
  std::optional<data::NgramCut> ngrams;  // of max_ngrams
  std::map<std::size_t, double> cuts;    // position of a column's rule -> least number of its top_fraction
  std::unordered_set<std::string> keep_list, drop_list;
  // By itself: only settings whose rules need nothing else.
  RuleBook(jobs::FilterSettings s = {}) : settings(std::move(s)) {}  // NOLINT
};

// Rules by name, in the order in which a verdict lists them:
//   bad_decode
//   short_side, aspect              ALIGN 3, rule 1: image size (METHODS 3.1)
//   texts_per_image                 ALIGN rule 2
//   duplicate_image, duplicate_text, duplicate_pair   exact copies of an earlier sample
//   near_duplicate_image, near_duplicate_embedding, near_duplicate_text
//                                   ALIGN App. A within the set: perceptual hash, cosine of embeddings; texts
//                                   by MinHash (Broder 1997)
//   against                         ALIGN rule 3: equal or near to an image of the data sets in `against`
//   column.<name>                   DataComp and DiHT's base set: scores, metadata (METHODS 2.2, FORMATS 3)
//   keep_list, drop_list
//   images_per_text                 ALIGN rule 4
//   rare_ngram                      ALIGN rule 5
//   min_words, max_words            ALIGN rule 6
//   language                        ALIGN 3, DiHT 2.1: English
//   complexity, action, spotted_text   DiHT 3.1: CAT's C, A and T (METHODS 2.2)
// and of the stage: earlier (dropped by the filter before), random (a control that was not drawn).
struct Verdict {
  bool kept = true;
  std::vector<std::string> rules;      // that dropped the sample; text rules only when no caption passed
  std::vector<std::int64_t> captions;  // positions of the captions that passed
  std::map<std::string, std::int64_t> dropped_captions;  // rule -> captions of this sample that failed it
  std::map<std::string, std::int64_t> bad_columns;       // "<name>.missing", "<name>.wrong_type"
};

// short side > short_side_over_px; long < aspect_below * short; min_words <= words <= max_words; counts at
// most their limits. An undecodable sample is not judged by its size.
Verdict judge(const SampleFacts& facts, const RuleBook& book);

// One line of the verdicts file, without newline (jobs/protocol/FORMAT.md).
std::string verdict_line(std::int64_t sample, const std::string& key, const SampleFacts& facts,
                         const Verdict& verdict);

}  // namespace trireme::worker::stages::filter

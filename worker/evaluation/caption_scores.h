// BLEU-1..4, ROUGE-L and CIDEr of generated captions against references, as COCO's caption evaluation has
// them (pycocoevalcap's scorers on tokenised text; FORMATS 1):
//   BLEU-n   geometric mean of clipped n-gram precisions over the corpus, with the brevity penalty for the
//            closest reference length (of equally close ones the shorter)
//   ROUGE-L  per image F of the best LCS precision and the best LCS recall over its references, beta 1.2;
//   mean CIDEr    per image 10 times the mean over n = 1..4 and references of the tf-idf cosine with clipped
//   counts
//            and a Gaussian penalty of the length difference, sigma 6; idf over the images' references; mean
// Tokens are what blanks separate; worker/text/tokenizers/caption_words.h makes them. Pure.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "worker/evaluation/result.h"

namespace trireme::worker::evaluation {

struct ScoredCaption {
  std::string candidate;
  std::vector<std::string> references;  // at least one
};

struct CaptionScores {
  std::array<double, 4> bleu{};
  double rouge_l = 0, cider = 0;
  std::vector<double> rouge_l_each, cider_each;  // per caption
};

// Throws kInvalid without captions, and for one without references.
CaptionScores score_captions(const std::vector<ScoredCaption>& captions);

// "Bleu_1" … "Bleu_4", "ROUGE_L", "CIDEr".
Metrics caption_metrics(const CaptionScores& scores);

}  // namespace trireme::worker::evaluation

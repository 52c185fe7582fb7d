#include "worker/evaluation/caption_scores.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <set>
#include <unordered_map>

#include "common/base/error.h"

namespace trireme::worker::evaluation {
namespace {

constexpr int kLongest = 4;
constexpr double kSmall = 1e-9, kTiny = 1e-15;  // keep empty counts from dividing by zero
constexpr double kBeta = 1.2, kSigma = 6;

using Words = std::vector<std::string>;

Words words_of(const std::string& text) {
  Words words;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find(' ', at), text.size());
    if (end > at) words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

// Occurrences of each n-gram, per n - 1.
using Counts = std::array<std::unordered_map<std::string, double>, kLongest>;

Counts counts_of(const Words& words) {
  Counts counts;
  for (std::size_t first = 0; first < words.size(); ++first) {
    std::string gram;
    for (std::size_t n = 0; n < kLongest && first + n < words.size(); ++n) {
      gram += (n == 0 ? "" : " ") + words[first + n];
      ++counts[n][gram];
    }
  }
  return counts;
}

struct Cooked {
  Words candidate;
  std::vector<Words> references;
  Counts candidate_counts;
  std::vector<Counts> reference_counts;
};

Cooked cooked(const ScoredCaption& caption) {
  Cooked made;
  made.candidate = words_of(caption.candidate);
  made.candidate_counts = counts_of(made.candidate);
  for (const auto& reference : caption.references) {
    made.references.push_back(words_of(reference));
    made.reference_counts.push_back(counts_of(made.references.back()));
  }
  return made;
}

// ---- BLEU ----

std::array<double, kLongest> bleu_of(const std::vector<Cooked>& all) {
  std::array<double, kLongest> correct{}, guessed{}, bleu{};
  double length = 0, reference_length = 0;
  for (const auto& one : all) {
    const auto words = static_cast<double>(one.candidate.size());
    length += words;
    double closest = INFINITY;
    for (const auto& reference : one.references) {
      const auto size = static_cast<double>(reference.size());
      const double away = std::abs(size - words), best = std::abs(closest - words);
      if (away < best || (away == best && size < closest)) closest = size;
    }
    reference_length += closest;
    for (std::size_t n = 0; n < kLongest; ++n) {
      guessed[n] += std::max(0.0, words - static_cast<double>(n));
      for (const auto& [gram, count] : one.candidate_counts[n]) {
        double most = 0;
        for (const auto& counts : one.reference_counts)
          if (const auto found = counts[n].find(gram); found != counts[n].end())
            most = std::max(most, found->second);
        correct[n] += std::min(most, count);
      }
    }
  }
  const double ratio = (length + kTiny) / (reference_length + kSmall);
  const double brevity = ratio < 1 ? std::exp(1 - 1 / ratio) : 1;
  double product = 1;
  for (std::size_t n = 0; n < kLongest; ++n) {
    product *= (correct[n] + kTiny) / (guessed[n] + kSmall);
    bleu[n] = std::pow(product, 1 / static_cast<double>(n + 1)) * brevity;
  }
  return bleu;
}

// ---- ROUGE-L ----

double common_subsequence(const Words& a, const Words& b) {
  std::vector<int> row(b.size() + 1);
  for (const auto& word : a) {
    int diagonal = 0;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int above = row[j];
      row[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

double rouge_of(const Cooked& one) {
  double precision = 0, recall = 0;
  for (const auto& reference : one.references) {
    const double common = common_subsequence(one.candidate, reference);
    if (common == 0) continue;
    precision = std::max(precision, common / static_cast<double>(one.candidate.size()));
    recall = std::max(recall, common / static_cast<double>(reference.size()));
  }
  if (precision == 0 || recall == 0) return 0;
  return (1 + kBeta * kBeta) * precision * recall / (recall + kBeta * kBeta * precision);
}

// ---- CIDEr ----

class Cider {
 public:
  explicit Cider(const std::vector<Cooked>& all) : log_images_(std::log(static_cast<double>(all.size()))) {
    for (const auto& one : all)
      for (std::size_t n = 0; n < kLongest; ++n) {
        std::set<std::string_view> seen;
        for (const auto& counts : one.reference_counts)
          for (const auto& [gram, count] : counts[n])
            if (seen.insert(gram).second) ++images_with_[gram];
      }
  }

  double of(const Cooked& one) const {
    const Vector candidate = vector(one.candidate_counts);
    double sum = 0;
    for (const auto& counts : one.reference_counts) sum += similarity(candidate, vector(counts));
    return 10 * sum / kLongest / static_cast<double>(one.references.size());
  }

 private:
  struct Vector {
    Counts weights;
    std::array<double, kLongest> norm{};
    double length = 0;  // in pairs of words
  };

  Vector vector(const Counts& counts) const {
    Vector made;
    for (std::size_t n = 0; n < kLongest; ++n) {
      for (const auto& [gram, count] : counts[n]) {
        const auto found = images_with_.find(gram);
        const double frequency = std::log(found == images_with_.end() ? 1.0 : found->second);
        const double weight = made.weights[n][gram] = count * (log_images_ - frequency);
        made.norm[n] += weight * weight;
        if (n == 1) made.length += count;
      }
      made.norm[n] = std::sqrt(made.norm[n]);
    }
    return made;
  }

  // Summed over n.
  static double similarity(const Vector& candidate, const Vector& reference) {
    double sum = 0;
    for (std::size_t n = 0; n < kLongest; ++n) {
      double product = 0;
      for (const auto& [gram, weight] : candidate.weights[n])
        if (const auto found = reference.weights[n].find(gram); found != reference.weights[n].end())
          product += std::min(weight, found->second) * found->second;
      if (candidate.norm[n] != 0 && reference.norm[n] != 0) product /= candidate.norm[n] * reference.norm[n];
      sum += product;
    }
    const double away = candidate.length - reference.length;
    return sum * std::exp(-away * away / (2 * kSigma * kSigma));
  }

  double log_images_;
  std::unordered_map<std::string, double> images_with_;
};

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

CaptionScores score_captions(const std::vector<ScoredCaption>& captions) {
  if (captions.empty()) throw Error(ErrorKind::kInvalid, "there are no captions to score");
  std::vector<Cooked> all;
  for (const auto& caption : captions) {
    if (caption.references.empty())
      throw Error(ErrorKind::kInvalid, "the caption \"" + caption.candidate + "\" has no reference");
    all.push_back(cooked(caption));
  }
  CaptionScores scores;
  scores.bleu = bleu_of(all);
  const Cider cider(all);
  for (const auto& one : all) {
    scores.rouge_l_each.push_back(rouge_of(one));
    scores.cider_each.push_back(cider.of(one));
  }
  scores.rouge_l = mean(scores.rouge_l_each);
  scores.cider = mean(scores.cider_each);
  return scores;
}

Metrics caption_metrics(const CaptionScores& scores) {
  Metrics metrics;
  for (std::size_t n = 0; n < scores.bleu.size(); ++n)
    metrics.emplace_back("Bleu_" + std::to_string(n + 1), scores.bleu[n]);
  metrics.emplace_back("ROUGE_L", scores.rouge_l);
  metrics.emplace_back("CIDEr", scores.cider);
  return metrics;
}

}  // namespace trireme::worker::evaluation

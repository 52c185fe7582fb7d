#include "worker/models/captioner/caption_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "common/base/random.h"

namespace trireme::worker::models {

CaptionSearch::CaptionSearch(const std::vector<std::int64_t>& start, const DecodingOptions& options,
                             std::uint64_t key)
    : options_(options), key_(key), start_length_(static_cast<std::int64_t>(start.size())) {
  open_.push_back({start});
}

void CaptionSearch::advance(const std::vector<float*>& rows, const std::vector<float>& log_sums,
                            std::int64_t vocabulary) {
  if (options_.method == DecodingMethod::kBeam)
    take_beams(rows, log_sums, vocabulary);
  else
    take_one(rows.front(), static_cast<double>(log_sums.front()), vocabulary);
}

OpenCaption CaptionSearch::extended(const Candidate& candidate, double log_sum) const {
  OpenCaption caption = open_[static_cast<std::size_t>(candidate.parent)];
  caption.parent = candidate.parent;
  caption.ids.push_back(candidate.id);
  caption.score = candidate.score;
  caption.log_probability += candidate.logit - log_sum;
  return caption;
}

void CaptionSearch::end(OpenCaption caption, double score, bool by_mark) {
  const auto place = std::ranges::find_if(ended_, [&](const Ended& one) { return one.score < score; });
  ended_.insert(place, {std::move(caption), score, by_mark});
}

void CaptionSearch::take_one(float* row, double log_sum, std::int64_t vocabulary) {
  OpenCaption& caption = open_.front();
  const std::vector<float> before(row, row + vocabulary);
  options_.rules.apply(caption.ids, 0, row);
  const std::int64_t id = options_.method == DecodingMethod::kGreedy
                              ? std::max_element(row, row + vocabulary) - row
                              : drawn(row, vocabulary);
  caption = extended({0, id, 0, static_cast<double>(before[static_cast<std::size_t>(id)])}, log_sum);
  const bool mark = id == options_.rules.end_id;
  done_ = mark || static_cast<std::int64_t>(caption.ids.size()) >= options_.max_length;
  if (done_) end(caption, 0, mark);
}

// The likeliest tokens, one by one, until they have top_p; then the place of one number among them.
std::int64_t CaptionSearch::drawn(float* row, std::int64_t vocabulary) const {
  const double most = static_cast<double>(*std::max_element(row, row + vocabulary));
  std::vector<std::pair<double, std::int64_t>> heap;
  double sum = 0;
  for (std::int64_t id = 0; id < vocabulary; ++id) {
    const double weight = std::exp((static_cast<double>(row[id]) - most) / options_.temperature);
    if (weight > 0) heap.emplace_back(weight, -id);
    sum += weight;
  }
  std::ranges::make_heap(heap);
  std::vector<std::pair<double, std::int64_t>> nucleus;
  double above = 0;
  while (!heap.empty() && above < options_.top_p * sum) {
    std::ranges::pop_heap(heap);
    nucleus.push_back(heap.back());
    above += heap.back().first;
    heap.pop_back();
  }
  RandomStream random(options_.seed, RandomPurpose::kCaptionChoice, key_,
                      static_cast<std::uint32_t>(open_.front().ids.size()));
  double left = random.uniform() * above;
  for (const auto& [weight, id] : nucleus)
    if ((left -= weight) < 0) return -id;
  return -nucleus.back().second;
}

void CaptionSearch::take_beams(const std::vector<float*>& rows, const std::vector<float>& log_sums,
                               std::int64_t vocabulary) {
  const auto beams = static_cast<std::size_t>(options_.beams), wanted = 2 * beams;
  const auto better = [](const Candidate& a, const Candidate& b) { return a.score > b.score; };
  std::vector<Candidate> best;  // rising; the first is the worst
  std::vector<std::vector<float>> before(rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    float* const row = rows[r];
    const double log_sum = static_cast<double>(log_sums[r]);
    if (options_.rules.any()) {
      before[r].assign(row, row + vocabulary);
      options_.rules.apply(open_[r].ids, log_sum, row);
    }
    const double base = open_[r].score - log_sum;
    float least = best.size() < wanted ? -std::numeric_limits<float>::infinity()
                                       : static_cast<float>(best.front().score - base);
    for (std::int64_t id = 0; id < vocabulary; ++id) {
      if (!(row[id] >= least) || std::isinf(row[id])) continue;
      const Candidate candidate{static_cast<std::int64_t>(r), id, base + static_cast<double>(row[id]),
                                static_cast<double>(row[id])};
      if (best.size() == wanted) {
        if (candidate.score <= best.front().score) continue;
        std::ranges::pop_heap(best, better);
        best.pop_back();
      }
      best.push_back(candidate);
      std::ranges::push_heap(best, better);
      if (best.size() == wanted) least = static_cast<float>(best.front().score - base);
    }
  }
  std::ranges::sort(best, [](const Candidate& a, const Candidate& b) {
    return a.score != b.score ? a.score > b.score : std::pair(a.parent, a.id) < std::pair(b.parent, b.id);
  });
  const std::int64_t length = static_cast<std::int64_t>(open_.front().ids.size()) + 1;
  const double tokens = static_cast<double>(length - start_length_);
  std::vector<OpenCaption> next;
  for (std::size_t rank = 0; rank < best.size(); ++rank) {
    Candidate& candidate = best[rank];
    const auto parent = static_cast<std::size_t>(candidate.parent);
    if (!before[parent].empty())
      candidate.logit = static_cast<double>(before[parent][static_cast<std::size_t>(candidate.id)]);
    const bool mark = candidate.id == options_.rules.end_id, stops = mark || length >= options_.max_length;
    if (stops && rank >= beams) continue;
    if (!stops && next.size() == beams) continue;
    OpenCaption caption = extended(candidate, static_cast<double>(log_sums[parent]));
    if (stops)
      end(std::move(caption), candidate.score / std::pow(tokens, options_.length_penalty), mark);
    else
      next.push_back(std::move(caption));
  }
  if (next.empty() && ended_.empty()) end(open_.front(), 0, false);  // the rules forbid every token
  if (ended_.size() > beams) ended_.resize(beams);
  open_ = std::move(next);
  done_ = open_.empty() ||
          (ended_.size() == beams &&
           !(open_.front().score / std::pow(tokens, options_.length_penalty) > ended_.back().score));
}

WrittenCaption CaptionSearch::result() const {
  const Ended& best = ended_.front();
  WrittenCaption written{{best.caption.ids.begin() + start_length_, best.caption.ids.end()},
                         best.caption.log_probability,
                         best.by_mark};
  if (best.by_mark) written.ids.pop_back();
  return written;
}

}  // namespace trireme::worker::models

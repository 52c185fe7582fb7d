#include "worker/models/captioner/write_captions.h"

#include <algorithm>
#include <numeric>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/models/captioner/caption_search.h"

namespace trireme::worker::models {
namespace {

void check_lengths(const CaptionDecoder& decoder, std::size_t start, const DecodingOptions& options) {
  if (options.max_length > decoder.positions())
    throw Error(ErrorKind::kInvalid,
                "captions of " + std::to_string(options.max_length) +
                    " tokens are longer than the decoder's " + std::to_string(decoder.positions()) +
                    " positions",
                "lower max_length");
  if (static_cast<std::int64_t>(start) >= options.max_length)
    throw Error(ErrorKind::kInvalid,
                "start mark and prompt are " + std::to_string(start) + " tokens, and max_length is " +
                    std::to_string(options.max_length),
                "raise max_length above them, or shorten the prompt");
}

// The batch under way: which image stands at which place of the cache, and how many rows each has.
class Batch {
 public:
  Batch(std::vector<CaptionSearch>& searches, std::int64_t rows_each)
      : searches_(searches), rows_each_(rows_each), places_(searches.size()) {
    std::iota(places_.begin(), places_.end(), std::size_t{0});
  }

  void advance(const at::Tensor& logits_RV) {
    const at::Tensor logits = logits_RV.to(at::kCPU, at::kFloat).contiguous(), sums = logits.logsumexp({1});
    const std::int64_t vocabulary = logits.size(1);
    for (std::size_t place = 0; place < places_.size(); ++place) {
      CaptionSearch& search = searches_[places_[place]];
      if (search.done()) continue;
      std::vector<float*> rows;
      std::vector<float> log_sums;
      for (std::size_t i = 0; i < search.open().size(); ++i) {
        const auto row = static_cast<std::int64_t>(place) * rows_now_ + static_cast<std::int64_t>(i);
        rows.push_back(logits.data_ptr<float>() + row * vocabulary);
        log_sums.push_back(sums.data_ptr<float>()[row]);
      }
      search.advance(rows, log_sums, vocabulary);
    }
  }

  bool done() const {
    return std::ranges::all_of(searches_, [](const CaptionSearch& search) { return search.done(); });
  }

  // Cache and next tokens of what is still open. Places of images that are done, and those of beams that an
  // image does not have, hold a copy that nobody reads.
  at::Tensor next(DecoderCache& cache, const at::Device& device) {
    std::vector<std::int64_t> kept, parents, tokens;
    for (std::size_t place = 0; place < places_.size(); ++place)
      if (!searches_[places_[place]].done()) kept.push_back(static_cast<std::int64_t>(place));
    const bool shrink = 2 * kept.size() <= places_.size();
    if (!shrink) {
      kept.resize(places_.size());
      std::iota(kept.begin(), kept.end(), 0);
    }
    for (const std::int64_t place : kept) {
      const auto& open = searches_[places_[static_cast<std::size_t>(place)]].open();
      const bool over = searches_[places_[static_cast<std::size_t>(place)]].done();
      for (std::int64_t i = 0; i < rows_each_; ++i) {
        const auto one = std::min(static_cast<std::size_t>(i), open.empty() ? 0 : open.size() - 1);
        parents.push_back(place * rows_now_ + (over ? 0 : open[one].parent));
        tokens.push_back(over ? 0 : open[one].ids.back());
      }
    }
    keep(cache, kept, parents, shrink, device);
    return at::tensor(tokens, at::kLong).unsqueeze(1).to(device);
  }

 private:
  void keep(DecoderCache& cache, const std::vector<std::int64_t>& kept,
            const std::vector<std::int64_t>& parents, bool shrink, const at::Device& device) {
    std::vector<std::int64_t> same(static_cast<std::size_t>(cache.images * rows_now_));
    std::iota(same.begin(), same.end(), 0);
    if (parents != same) cache.keep_rows(at::tensor(parents, at::kLong).to(device));
    rows_now_ = rows_each_;
    if (!shrink) return;
    cache.keep_images(at::tensor(kept, at::kLong).to(device));
    std::vector<std::size_t> left;
    for (const std::int64_t place : kept) left.push_back(places_[static_cast<std::size_t>(place)]);
    places_ = std::move(left);
  }

  std::vector<CaptionSearch>& searches_;
  std::int64_t rows_each_, rows_now_ = 1;  // before the first choice an image has one
  std::vector<std::size_t> places_;
};

}  // namespace

std::vector<WrittenCaption> write_captions(const CaptionDecoder& decoder, const at::Tensor& image_NSU,
                                           const std::vector<std::int64_t>& start,
                                           const DecodingOptions& options,
                                           const std::vector<std::uint64_t>& keys,
                                           const std::function<void()>& poll) {
  const at::NoGradGuard no_grad;
  check_lengths(decoder, start.size(), options);
  const std::int64_t images = image_NSU.size(0);
  std::vector<WrittenCaption> written;
  if (images == 0) return written;
  std::vector<CaptionSearch> searches;
  for (std::int64_t i = 0; i < images; ++i)
    searches.emplace_back(start, options, keys.empty() ? 0 : keys[static_cast<std::size_t>(i)]);
  const std::int64_t rows = options.method == DecodingMethod::kBeam ? options.beams : 1;
  Batch batch(searches, rows);
  const CrossForm form = options.cross_form.value_or(decoder.cheaper(image_NSU, rows, options.max_length));
  DecoderCache cache = decoder.start(image_NSU, options.max_length, form);
  at::Tensor tokens = at::tensor(start, at::kLong).to(image_NSU.device()).expand({images, -1});
  for (;;) {
    if (poll) poll();
    batch.advance(decoder.step(tokens, cache));
    if (batch.done()) break;
    tokens = batch.next(cache, image_NSU.device());
  }
  for (const CaptionSearch& search : searches) written.push_back(search.result());
  return written;
}

}  // namespace trireme::worker::models

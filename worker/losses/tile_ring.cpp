#include "worker/losses/tile_ring.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace trireme::worker::losses {
namespace {
// Starts of tiles stay on multiples of 64 bytes for every dtype: a product's bits may depend on alignment.
constexpr std::int64_t kAlignedRows = 32;
}  // namespace

TileGrid::TileGrid(const GlobalBatch& batch, std::int64_t largest) : slots_(batch.slots), rows_(batch.rows) {
  const auto wanted = (rows_ + largest - 1) / largest;
  part_ = (rows_ + wanted - 1) / wanted;
  if (wanted > 1) part_ = (part_ + kAlignedRows - 1) / kAlignedRows * kAlignedRows;
  parts_ = (rows_ + part_ - 1) / part_;
  first_own_ = batch.first_slot * parts_;
  own_ = batch.own_slots * parts_;
}

std::int64_t TileGrid::size(std::int64_t tile) const {
  return std::min(part_, rows_ - tile % parts_ * part_);
}

TileRing::TileRing(const TileGrid& grid, std::vector<at::Tensor> images, std::vector<Texts> texts,
                   collective::Group& group)
    : grid_(grid), own_images_(std::move(images)), own_texts_(std::move(texts)), group_(group) {}

void TileRing::begin() {
  images_.assign(own_images_.begin(), own_images_.end());
  texts_.assign(own_texts_.begin(), own_texts_.end());
  round_ = 0;
}

at::Tensor TileRing::buffer(std::int64_t tile, const at::Tensor& like) {
  const auto fits = std::find_if(spare_.begin(), spare_.end(), [&](const at::Tensor& tensor) {
    return tensor.size(0) == grid_.size(tile);
  });
  if (fits == spare_.end()) return at::empty({grid_.size(tile), like.size(1)}, like.options());
  const at::Tensor found = *fits;
  spare_.erase(fits);
  return found;
}

void TileRing::depart() {
  const auto tiles = grid_.tiles(), first = grid_.first_own(), own = grid_.own();
  if (round_ + 1 == tiles) return;
  const auto text_tile = (first + own + round_) % tiles, image_tile = (first + tiles - round_ - 1) % tiles;
  if (own + round_ >= tiles) {  // once around: own tiles again, on every rank alike
    texts_coming_ = own_texts_[static_cast<std::size_t>(text_tile - first)];
    image_coming_ = own_images_[static_cast<std::size_t>(image_tile - first)];
    return;
  }
  const int ranks = group_.size(), next = (group_.rank() + 1) % ranks,
            last = (group_.rank() + ranks - 1) % ranks;
  image_coming_ = buffer(image_tile, own_images_.front());
  std::vector<collective::Parcel> sends{{next, images_.back()}}, receives{{last, image_coming_}};
  texts_coming_.clear();
  for (const auto& text : texts_.front()) {
    texts_coming_.push_back(buffer(text_tile, own_images_.front()));
    sends.push_back({last, text});
    receives.push_back({next, texts_coming_.back()});
  }
  flight_ = group_.start(sends, receives, "contrastive loss");
}

void TileRing::poll() {
  if (flight_) static_cast<void>(flight_->poll());
}

void TileRing::arrive() {
  const auto begin = std::chrono::steady_clock::now();
  if (flight_) flight_->wait();
  waited_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  flight_.reset();
  const auto tiles = grid_.tiles();
  if (++round_ == tiles) return;
  const auto text_tile = (grid_.first_own() + round_ - 1) % tiles;
  const auto image_tile = (grid_.first_own() + grid_.own() - 1 + tiles - round_ + 1) % tiles;
  if (!grid_.is_own(text_tile)) spare_.insert(spare_.end(), texts_.front().begin(), texts_.front().end());
  if (!grid_.is_own(image_tile)) spare_.push_back(images_.back());
  texts_.pop_front();
  images_.pop_back();
  texts_.push_back(std::exchange(texts_coming_, {}));
  images_.push_front(std::exchange(image_coming_, {}));
}

}  // namespace trireme::worker::losses

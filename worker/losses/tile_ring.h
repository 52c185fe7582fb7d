// Embeddings of the whole batch, tile by tile, past every rank (README.md, "Streaming"). The batch is cut
// into n tiles in slot order, k of them own. In round r = 0..n-1 each own row tile a meets text tile a + r
// and each own text tile b meets image tile b - r (mod n). So a round needs a window of k text tiles that
// moves up by one and one of k image tiles that moves down, and a rank passes one tile of each to its
// neighbours per round, while the tiles it has are worked on. Every tile of the batch meets its partners in
// an order that only its place says, and no two meetings of a round share a row tile or a text tile.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "worker/losses/global_batch.h"

namespace trireme::worker::losses {

// How slots are cut: parts of a slot of equal size but for the last, whatever the number of ranks.
class TileGrid {
 public:
  TileGrid(const GlobalBatch& batch, std::int64_t largest);
  std::int64_t tiles() const { return slots_ * parts_; }
  std::int64_t parts() const { return parts_; }  // of a slot
  std::int64_t place(std::int64_t tile) const { return tile / parts_ * rows_ + tile % parts_ * part_; }
  std::int64_t size(std::int64_t tile) const;
  std::int64_t first_own() const { return first_own_; }
  std::int64_t own() const { return own_; }
  bool is_own(std::int64_t tile) const { return tile >= first_own_ && tile < first_own_ + own_; }

 private:
  std::int64_t slots_, rows_, parts_, part_, first_own_, own_;
};

using Texts = std::vector<at::Tensor>;  // one per pair

class TileRing {
 public:
  // Own tiles in order, contiguous.
  TileRing(const TileGrid& grid, std::vector<at::Tensor> images, std::vector<Texts> texts,
           collective::Group& group);

  const at::Tensor& own_image(std::int64_t i) const { return own_images_[static_cast<std::size_t>(i)]; }
  const Texts& own_texts(std::int64_t i) const { return own_texts_[static_cast<std::size_t>(i)]; }
  // What own tile i meets in this round.
  const Texts& texts_met(std::int64_t i) const { return texts_[static_cast<std::size_t>(i)]; }
  const at::Tensor& image_met(std::int64_t i) const { return images_[static_cast<std::size_t>(i)]; }

  void begin();   // round 0
  void depart();  // starts what the next round needs
  void poll();
  void arrive();  // waits for it; the next round begins
  double waited_seconds() const { return waited_seconds_; }

 private:
  at::Tensor buffer(std::int64_t tile, const at::Tensor& like);

  const TileGrid& grid_;
  std::vector<at::Tensor> own_images_;
  std::vector<Texts> own_texts_;
  collective::Group& group_;
  std::deque<at::Tensor> images_;
  std::deque<Texts> texts_;
  std::vector<at::Tensor> spare_;
  std::int64_t round_ = 0;
  std::unique_ptr<collective::Flight> flight_;
  at::Tensor image_coming_;
  Texts texts_coming_;
  double waited_seconds_ = 0;
};

}  // namespace trireme::worker::losses

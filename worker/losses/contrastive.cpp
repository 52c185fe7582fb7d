#include "worker/losses/contrastive.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "common/base/error.h"
#include "worker/collective/slot_tree.h"
#include "worker/kernels/negative_choice.h"
#include "worker/kernels/pair_tile/pair_tile.h"
#include "worker/kernels/sent.h"
#include "worker/losses/global_batch.h"
#include "worker/losses/line_losses.h"
#include "worker/losses/scratch.h"
#include "worker/losses/tile_ring.h"

namespace trireme::worker::losses {
namespace {

enum Direction : std::size_t { kRows, kColumns, kDirections };

// Two tiles that meet: an own one of at least one modality.
struct Meeting {
  std::int64_t row_tile, column_tile;
  bool own_row, own_column;
  const at::Tensor* image;
  const Texts* texts;
};

// One call of contrastive().
class Computation {
 public:
  Computation(const std::vector<SlotEmbeddings>& own, const GlobalBatch& batch, const ContrastivePoint& point,
              const ContrastiveOptions& options, collective::Group& group, const ForEach& for_each)
      : own_(own),
        batch_(batch),
        point_(point),
        options_(options),
        group_(group),
        for_each_(for_each),
        device_(own.front().image_bD.device()),
        live_there_(kernels::sent_to(batch.live_N, device_)),
        label_there_(batch.label_N.defined() ? kernels::sent_to(batch.label_N, device_) : at::Tensor()),
        grid_(batch, batch.tile),
        ring_(grid_, cut_images(), cut_texts(), group) {}

  ContrastiveResult run() {
    count_negatives();
    choose_negatives();
    forward();
    ContrastiveResult result{.live = batch_.live};
    finish_lines();
    backward(result);
    result.waited_seconds = ring_.waited_seconds();
    return result;
  }

 private:
  // -- tiles --
  // Own rows [size, D] of a tile: dead ones zero, contiguous, on a multiple of 64 bytes, float32 for bfloat16
  // on the CPU; the slot's memory itself where it is all that.
  at::Tensor cut(const at::Tensor& slot_bD, std::int64_t tile) const {
    const auto place = grid_.place(tile) - (tile / grid_.parts()) * batch_.rows, size = grid_.size(tile);
    at::Tensor rows = slot_bD.narrow(0, place, size);
    const at::Tensor live = batch_.live_N.narrow(0, grid_.place(tile), size);
    if (device_.is_cpu()) rows = rows.to(batch_.compute);
    if (!live.all().item<bool>())
      return rows.masked_fill(live_there_.narrow(0, grid_.place(tile), size).eq(0).unsqueeze(1), 0);
    const bool aligned = reinterpret_cast<std::uintptr_t>(rows.data_ptr()) % 64 == 0;
    return rows.is_contiguous() && aligned ? rows : rows.clone(at::MemoryFormat::Contiguous);
  }
  const SlotEmbeddings& slot_of(std::int64_t tile) const {
    return own_[static_cast<std::size_t>(tile / grid_.parts() - batch_.first_slot)];
  }
  std::vector<at::Tensor> cut_images() const {
    std::vector<at::Tensor> tiles;
    for (std::int64_t i = 0; i < grid_.own(); ++i) {
      const auto tile = grid_.first_own() + i;
      tiles.push_back(cut(slot_of(tile).image_bD, tile));
    }
    return tiles;
  }
  std::vector<Texts> cut_texts() const {
    std::vector<Texts> tiles;
    for (std::int64_t i = 0; i < grid_.own(); ++i) {
      const auto tile = grid_.first_own() + i;
      tiles.emplace_back();
      for (const auto& text : slot_of(tile).text_bD) tiles.back().push_back(cut(text, tile));
    }
    return tiles;
  }

  // -- what takes part --
  void count_negatives() {
    negatives_N_ = batch_.live - batch_.positives_N;
    if (options_.negative_fraction >= 1) return;
    auto* counts = negatives_N_.data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < batch_.all_rows(); ++i)
      counts[i] = kernels::negatives_kept(options_.negative_fraction, counts[i]);
  }

  void choose_negatives() {
    if (options_.negative_fraction >= 1) return;
    const auto lists = static_cast<std::int64_t>(kDirections) * batch_.pairs;
    at::Tensor own = at::zeros({batch_.own_rows(), lists, 3}, at::kLong);
    for_each_(batch_.own_slots, [&](std::int64_t slot) {
      for (std::int64_t i = slot * batch_.rows; i < (slot + 1) * batch_.rows; ++i)
        choose_for(batch_.first_row() + i, own.data_ptr<std::int64_t>() + i * lists * 3);
    });
    const at::Tensor all = group_.all_gather(own);
    for (std::int64_t list = 0; list < lists; ++list)
      choices_.push_back(kernels::sent_to(all.select(1, list).contiguous(), device_));
  }
  void choose_for(std::int64_t row, std::int64_t* choice) const {
    const auto* live = batch_.live_N.data_ptr<std::uint8_t>();
    if (live[row] == 0) return;
    std::vector<std::uint8_t> candidate(live, live + batch_.all_rows());
    candidate[static_cast<std::size_t>(row)] = 0;
    if (batch_.label_N.defined()) {
      const auto* label = batch_.label_N.data_ptr<std::int64_t>();
      for (std::int64_t j = 0; j < batch_.all_rows(); ++j)
        if (label[j] == label[row]) candidate[static_cast<std::size_t>(j)] = 0;
    }
    const auto candidates = batch_.live - batch_.positives_N.data_ptr<std::int64_t>()[row];
    const auto kept = negatives_N_.data_ptr<std::int64_t>()[row];
    for (std::int64_t list = 0; list < 2 * batch_.pairs; ++list, choice += 3) {
      const auto key = kernels::negative_key(options_.seed, point_.step, list, row);
      const auto limit = kernels::negative_limit(key, candidate, candidates, kept);
      choice[0] = static_cast<std::int64_t>(key);
      choice[1] = limit.rank;
      choice[2] = limit.column;
    }
  }

  kernels::TileLines lines(std::int64_t tile, std::size_t pair, Direction direction) const {
    const auto place = grid_.place(tile), size = grid_.size(tile);
    kernels::TileLines result{.first = place};
    const at::Tensor live = batch_.live_N.narrow(0, place, size);
    if (std::memchr(live.data_ptr(), 0, static_cast<std::size_t>(size)) != nullptr)
      result.live_n = live_there_.narrow(0, place, size);
    if (label_there_.defined()) result.label_n = label_there_.narrow(0, place, size);
    if (!choices_.empty()) result.choice_n3 = choices_[kDirections * pair + direction].narrow(0, place, size);
    return result;
  }
  kernels::PairTile tile_of(const Meeting& meeting, std::size_t pair) const {
    return {.rows = lines(meeting.row_tile, pair, kRows),
            .columns = lines(meeting.column_tile, pair, kColumns),
            .bias = point_.bias_there.defined() ? 0 : point_.bias,
            .sigmoid = options_.kind == ContrastiveKind::kSigmoid,
            .linear = options_.smoothing > 0,
            .beta = options_.beta,
            .weight_gradient = !options_.detach_weights};
  }

  // -- rounds --
  std::vector<Meeting> meetings(std::int64_t round) const {
    const auto tiles = grid_.tiles(), first = grid_.first_own();
    std::vector<Meeting> result;
    for (std::int64_t i = 0; i < grid_.own(); ++i) {
      const auto column = (first + i + round) % tiles;
      result.push_back(
          {first + i, column, true, grid_.is_own(column), &ring_.own_image(i), &ring_.texts_met(i)});
    }
    for (std::int64_t i = 0; i < grid_.own(); ++i) {
      const auto row = (first + i - round + tiles) % tiles;
      if (!grid_.is_own(row))
        result.push_back({row, first + i, false, true, &ring_.image_met(i), &ring_.own_texts(i)});
    }
    return result;
  }

  void stream(const std::function<void(const Meeting&)>& body) {
    const auto driver = std::this_thread::get_id();
    ring_.begin();
    for (std::int64_t round = 0; round < grid_.tiles(); ++round) {
      ring_.depart();
      const auto together = meetings(round);
      for_each_(static_cast<std::int64_t>(together.size()), [&](std::int64_t i) {
        if (std::this_thread::get_id() == driver) ring_.poll();
        body(together[static_cast<std::size_t>(i)]);
      });
      ring_.arrive();
    }
  }

  bool stays() const { return point_.scale_there.defined(); }  // nothing is read on the host

  // scale image text^T; plus the bias, where only the device knows it.
  at::Tensor logits(const at::Tensor& image_RD, const at::Tensor& text_CD) {
    if (stays()) {
      at::Tensor products = at::Tensor();
      if (image_RD.scalar_type() == at::kBFloat16) {
        products = at::mm(image_RD, text_CD.t(), at::kFloat);
      } else {
        products = scratch_.take(image_RD.size(0), text_CD.size(0), image_RD.options());
        at::addmm_out(products, products, image_RD, text_CD.t(), 0, 1);
      }
      products.mul_(point_.scale_there);
      return point_.bias_there.defined() ? products.add_(point_.bias_there) : products;
    }
    if (image_RD.scalar_type() == at::kBFloat16)
      return at::mm(image_RD, text_CD.t(), at::kFloat).mul_(point_.scale);
    at::Tensor buffer = scratch_.take(image_RD.size(0), text_CD.size(0), image_RD.options());
    at::addmm_out(buffer, buffer, image_RD, text_CD.t(), 0, point_.scale);
    return buffer;
  }
  // For another meeting; products of bfloat16 rows are torch's own memory each time, and go back to it.
  void give(at::Tensor tile, const at::Tensor& image_RD) {
    if (image_RD.scalar_type() != at::kBFloat16) scratch_.give(std::move(tile));
  }
  // gradient += scale weights rows; where the scale stays, it comes at the end (numbers_stay()).
  void add_product(const at::Tensor& gradient, const at::Tensor& weights, const at::Tensor& rows) const {
    const double scale = stays() ? 1 : point_.scale;
    if (rows.scalar_type() == at::kBFloat16)
      gradient.add_(at::mm(weights.to(at::kBFloat16), rows, at::kFloat), scale);
    else
      at::Tensor(gradient).addmm_(weights, rows, 1, scale);
  }
  std::int64_t own_place(std::int64_t tile) const { return grid_.place(tile) - batch_.first_row(); }

  // -- passes --
  void forward() {
    for (std::int64_t list = 0; list < 2 * batch_.pairs; ++list)
      statistics_.push_back(kernels::start_statistics(batch_.own_rows(), device_));
    const auto part = [&](bool own, std::int64_t tile, std::size_t list) {
      return own ? statistics_[list].narrow(1, own_place(tile), grid_.size(tile)) : at::Tensor();
    };
    stream([&](const Meeting& meeting) {
      for (std::size_t p = 0; p < meeting.texts->size(); ++p) {
        at::Tensor s = logits(*meeting.image, (*meeting.texts)[p]);
        kernels::add_statistics(s, tile_of(meeting, p),
                                part(meeting.own_row, meeting.row_tile, 2 * p + kRows),
                                part(meeting.own_column, meeting.column_tile, 2 * p + kColumns));
        give(std::move(s), *meeting.image);
      }
    });
  }

  double share() const {
    const double n = static_cast<double>(batch_.live);
    if (options_.reduction == Reduction::kSum) return 1;
    return options_.reduction == Reduction::kSumOfMeans ? 1 / n : 0.5 / n;
  }

  at::Tensor own_weight(std::size_t pair) const {
    if (own_.front().weight_b.empty()) return at::ones({batch_.own_rows()}, at::kDouble);
    std::vector<at::Tensor> parts;
    for (const auto& slot : own_) parts.push_back(slot.weight_b[pair]);
    return at::cat(parts);
  }

  // Losses of own lines; coefficients of all.
  void finish_lines() {
    const auto own = [&](const at::Tensor& all) {
      return all.narrow(0, batch_.first_row(), batch_.own_rows());
    };
    const at::Tensor live = own(live_there_), positives = kernels::sent_to(own(batch_.positives_N), device_),
                     negatives = kernels::sent_to(own(negatives_N_), device_);
    std::vector<at::Tensor> coefficients, loss_n;
    for (std::size_t list = 0; list < statistics_.size(); ++list) {
      const auto losses = line_losses({.statistics_7n = statistics_[list],
                                       .live_n = live,
                                       .weight_n = kernels::sent_to(own_weight(list / kDirections), device_),
                                       .positives_n = positives,
                                       .negatives_n = negatives},
                                      options_, share());
      coefficients.push_back(losses.coefficients_5n.t().to(batch_.compute));
      loss_n.push_back(losses.loss_n);
    }
    statistics_.clear();
    const at::Tensor all = group_.all_gather(at::cat(coefficients, 1).contiguous());
    for (std::size_t list = 0; list < coefficients.size(); ++list)
      coefficients_.push_back(
          all.narrow(1, static_cast<std::int64_t>(list) * kernels::kCoefficients, kernels::kCoefficients)
              .t()
              .contiguous());
    loss_ln_ = at::stack(loss_n);
  }

  void add_losses(ContrastiveResult& result, const at::Tensor& lines) const {
    const at::Tensor total =
        collective::tree_sum_rows(group_.all_gather(losses_of_slots(lines, batch_.own_slots, batch_.pairs))) *
        share();
    for (std::int64_t p = 0; p < batch_.pairs; ++p) {
      result.pair_loss.push_back(total[p].item<double>());
      result.loss += result.pair_loss.back();
    }
  }

  void start_gradients(ContrastiveResult& result) const {
    for (const auto& slot : own_) {
      const auto zeros = [&] {
        return at::zeros(slot.image_bD.sizes(), slot.image_bD.options().dtype(batch_.compute));
      };
      SlotGradient gradient{.image_bD = zeros()};
      for (std::size_t p = 0; p < slot.text_bD.size(); ++p) gradient.text_bD.push_back(zeros());
      result.gradients.push_back(std::move(gradient));
    }
  }

  void backward(ContrastiveResult& result) {
    start_gradients(result);
    at::Tensor sums = at::zeros({grid_.own(), 2}, at::TensorOptions(device_).dtype(at::kDouble));
    const auto slot = [&](std::int64_t tile) -> SlotGradient& {
      return result.gradients[static_cast<std::size_t>(tile / grid_.parts() - batch_.first_slot)];
    };
    const auto part = [&](const at::Tensor& slot_bD, std::int64_t tile) {
      return slot_bD.narrow(0, grid_.place(tile) % batch_.rows, grid_.size(tile));
    };
    const auto of = [&](std::size_t list, std::int64_t tile) {
      return coefficients_[list].narrow(1, grid_.place(tile), grid_.size(tile));
    };
    stream([&](const Meeting& m) {
      for (std::size_t p = 0; p < m.texts->size(); ++p) {
        const at::Tensor& text = (*m.texts)[p];
        at::Tensor g = logits(*m.image, text);
        kernels::tile_gradient(g, tile_of(m, p), of(2 * p + kRows, m.row_tile),
                               of(2 * p + kColumns, m.column_tile),
                               m.own_row ? sums[m.row_tile - grid_.first_own()] : at::zeros_like(sums[0]));
        if (m.own_row) add_product(part(slot(m.row_tile).image_bD, m.row_tile), g, text);
        if (m.own_column) add_product(part(slot(m.column_tile).text_bD[p], m.column_tile), g.t(), *m.image);
        give(std::move(g), *m.image);
      }
    });
    if (stays()) return numbers_stay(result, sums);
    // The only look at the device, when all is on its way there.
    const at::Tensor on_host = at::cat({sums.flatten(), loss_ln_.flatten()}).cpu();
    for (std::int64_t i = 0; i < grid_.own(); ++i) {
      auto& gradient = slot(grid_.first_own() + i);
      gradient.log_scale += on_host.data_ptr<double>()[2 * i];
      gradient.bias += on_host.data_ptr<double>()[2 * i + 1];
    }
    add_losses(result, on_host.narrow(0, sums.numel(), loss_ln_.numel()).view(loss_ln_.sizes()));
  }

  // What backward() reads, left on the device. The kernels' sums are of logits with the bias in them.
  void numbers_stay(ContrastiveResult& result, const at::Tensor& sums) const {
    const at::Tensor of_slots = sums.view({batch_.own_slots, grid_.parts(), 2}).sum(1);
    for (std::size_t i = 0; i < result.gradients.size(); ++i) {
      SlotGradient& gradient = result.gradients[i];
      gradient.image_bD.mul_(point_.scale_there);
      for (const auto& text : gradient.text_bD) text.mul_(point_.scale_there);
      gradient.shares_2 = of_slots[static_cast<std::int64_t>(i)];
      if (point_.bias_there.defined())
        gradient.shares_2 = at::stack(
            {gradient.shares_2[0] - point_.bias_there * gradient.shares_2[1], gradient.shares_2[1]});
    }
    const at::Tensor of_slots_sp =
        loss_ln_.view({batch_.pairs, kDirections, batch_.own_slots, batch_.rows}).sum({1, 3}).t();
    result.pair_loss_p = collective::tree_sum_rows(group_.all_gather(of_slots_sp.contiguous())) * share();
  }

  const std::vector<SlotEmbeddings>& own_;
  const GlobalBatch& batch_;
  const ContrastivePoint& point_;
  const ContrastiveOptions& options_;
  collective::Group& group_;
  const ForEach& for_each_;
  c10::Device device_;
  at::Tensor live_there_, label_there_;  // of all rows, on the device
  TileGrid grid_;
  TileRing ring_;
  Scratch scratch_;
  at::Tensor negatives_N_;                // |K(i)|
  std::vector<at::Tensor> choices_;       // [pair][direction], int64 [N, 3]; empty: all negatives are kept
  std::vector<at::Tensor> statistics_;    // [pair][direction], own lines
  std::vector<at::Tensor> coefficients_;  // [pair][direction], all lines
  at::Tensor loss_ln_;                    // [pair and direction, own lines]
};

ContrastiveResult skipped(const std::vector<SlotEmbeddings>& own, const GlobalBatch& batch) {
  ContrastiveResult result{.live = batch.live, .skipped = true};
  result.pair_loss.assign(static_cast<std::size_t>(batch.pairs), 0);
  for (const auto& slot : own) {
    const auto zeros = at::zeros(slot.image_bD.sizes(), slot.image_bD.options().dtype(batch.compute));
    SlotGradient gradient{.image_bD = zeros};
    for (std::size_t p = 0; p < slot.text_bD.size(); ++p) gradient.text_bD.push_back(zeros.clone());
    result.gradients.push_back(std::move(gradient));
  }
  return result;
}

}  // namespace

ContrastiveResult contrastive(const std::vector<SlotEmbeddings>& own, std::int64_t slots,
                              const ContrastivePoint& point, const ContrastiveOptions& options,
                              collective::Group& group, const ForEach& for_each) {
  const at::NoGradGuard no_grad;
  const GlobalBatch batch = agree(own, slots, point, options, group);
  if (batch.live < 2) return skipped(own, batch);
  return Computation(own, batch, point, options, group, for_each).run();
}

}  // namespace trireme::worker::losses

#include "worker/losses/info_nce.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "worker/collective/slot_tree.h"

namespace trireme::worker::losses {
namespace {

// Everything of the batch that every rank has, in slot order.
struct Batch {
  at::Tensor image_ND, text_ND;
  at::Tensor live_N;  // bool
  std::int64_t live = 0;
  double scale = 1;
};

// Softmax statistics of one slot: its images against all texts, its texts against all images.
struct SlotStatistics {
  at::Tensor row_b, column_b;
  double loss = 0;  // sum over the slot's live rows of both directions
};

Batch gather(const std::vector<SlotEmbeddings>& own, double logit_scale, collective::Group& group) {
  std::vector<at::Tensor> images, texts, live;
  for (const auto& slot : own) {
    images.push_back(slot.image_bD);
    texts.push_back(slot.text_bD);
    live.push_back(slot.live_b);
  }
  const at::Tensor image = at::cat(images);
  const at::Tensor mask = at::cat(live).to(image.options()).unsqueeze(1);
  const auto width = image.size(1);
  const at::Tensor all = group.all_gather(at::cat({image, at::cat(texts), mask}, 1).contiguous());
  Batch batch;
  batch.live_N = all.select(1, 2 * width).gt(0.5);
  const at::Tensor dead = batch.live_N.logical_not().unsqueeze(1);
  batch.image_ND = all.narrow(1, 0, width).masked_fill(dead, 0);
  batch.text_ND = all.narrow(1, width, width).masked_fill(dead, 0);
  batch.live = batch.live_N.sum().item<std::int64_t>();
  batch.scale = std::exp(logit_scale);
  return batch;
}

// Logits [b, N] of the rows [first, first + b) of `from` against all of `to`; dead columns at minus infinity.
at::Tensor logits(const Batch& batch, const at::Tensor& from, const at::Tensor& to, std::int64_t first,
                  std::int64_t rows) {
  return at::mm(from.narrow(0, first, rows), to.t())
      .mul_(batch.scale)
      .masked_fill_(batch.live_N.logical_not().unsqueeze(0), -std::numeric_limits<double>::infinity());
}

SlotStatistics statistics(const Batch& batch, std::int64_t first, std::int64_t rows) {
  const at::Tensor by_image = logits(batch, batch.image_ND, batch.text_ND, first, rows);
  const at::Tensor by_text = logits(batch, batch.text_ND, batch.image_ND, first, rows);
  SlotStatistics result;
  result.row_b = at::logsumexp(by_image, 1);
  result.column_b = at::logsumexp(by_text, 1);
  const at::Tensor both = (result.row_b - by_image.diagonal(first)).to(at::kDouble) +
                          (result.column_b - by_text.diagonal(first)).to(at::kDouble);
  result.loss = both.masked_fill(batch.live_N.narrow(0, first, rows).logical_not(), 0).sum().item<double>();
  return result;
}

// d(2n L)/d(s S') for own rows: both softmaxes minus twice the identity. Column statistics are those of the
// other side, for all columns.
at::Tensor residual(const Batch& batch, const at::Tensor& logits_bN, const at::Tensor& own_b,
                    const at::Tensor& other_N, std::int64_t first) {
  at::Tensor weights = (logits_bN - own_b.unsqueeze(1)).exp_();
  weights.add_((logits_bN - other_N.unsqueeze(0)).exp_());
  weights.diagonal(first).sub_(2);
  const auto rows = logits_bN.size(0);
  return weights.masked_fill_(batch.live_N.logical_not().unsqueeze(0), 0)
      .masked_fill_(batch.live_N.narrow(0, first, rows).logical_not().unsqueeze(1), 0);
}

SlotGradient gradient(const Batch& batch, const at::Tensor& row_N, const at::Tensor& column_N,
                      std::int64_t first, std::int64_t rows) {
  const double share = 1 / (2.0 * static_cast<double>(batch.live));
  const auto own = [&](const at::Tensor& all) { return all.narrow(0, first, rows); };
  const at::Tensor by_image = logits(batch, batch.image_ND, batch.text_ND, first, rows);
  const at::Tensor image_weights = residual(batch, by_image, own(row_N), column_N, first);
  const at::Tensor by_text = logits(batch, batch.text_ND, batch.image_ND, first, rows);
  const at::Tensor text_weights = residual(batch, by_text, own(column_N), row_N, first);
  SlotGradient result;
  result.image_bD = at::mm(image_weights, batch.text_ND).mul_(batch.scale * share);
  result.text_bD = at::mm(text_weights, batch.image_ND).mul_(batch.scale * share);
  const at::Tensor finite = by_image.masked_fill(batch.live_N.logical_not().unsqueeze(0), 0);
  result.logit_scale = share * at::mul(image_weights, finite).sum(at::kDouble).item<double>();
  return result;
}

InfoNce skipped(const std::vector<SlotEmbeddings>& own, std::int64_t live) {
  InfoNce result{.live = live, .skipped = true};
  for (const auto& slot : own)
    result.gradients.push_back({at::zeros_like(slot.image_bD), at::zeros_like(slot.text_bD), 0});
  return result;
}

}  // namespace

InfoNce info_nce(const std::vector<SlotEmbeddings>& own, std::int64_t slots, double logit_scale,
                 collective::Group& group, const ForEach& for_each) {
  const auto count = static_cast<std::int64_t>(own.size());
  const auto first_slot = collective::own_slots(slots, group.size(), group.rank()).first;
  const auto rows = own.front().image_bD.size(0);
  const Batch batch = gather(own, logit_scale, group);
  if (batch.live < 2) return skipped(own, batch.live);

  std::vector<SlotStatistics> stats(own.size());
  for_each(count, [&](std::int64_t i) {
    stats[static_cast<std::size_t>(i)] = statistics(batch, (first_slot + i) * rows, rows);
  });
  std::vector<at::Tensor> packed;  // per slot: row, column, loss, in float64 so that nothing is rounded
  for (const auto& slot : stats)
    packed.push_back(at::cat({slot.row_b.to(at::kDouble), slot.column_b.to(at::kDouble),
                              at::full({1}, slot.loss, slot.row_b.options().dtype(at::kDouble))}));
  const at::Tensor all = group.all_gather(at::stack(packed));  // [L, 2b + 1]
  const auto type = batch.image_ND.scalar_type();
  const at::Tensor row_N = all.narrow(1, 0, rows).reshape({-1}).to(type);
  const at::Tensor column_N = all.narrow(1, rows, rows).reshape({-1}).to(type);

  InfoNce result{.live = batch.live};
  result.loss = collective::tree_sum_rows(all.narrow(1, 2 * rows, 1)).item<double>() /
                (2.0 * static_cast<double>(batch.live));
  result.gradients.resize(own.size());
  for_each(count, [&](std::int64_t i) {
    result.gradients[static_cast<std::size_t>(i)] =
        gradient(batch, row_N, column_N, (first_slot + i) * rows, rows);
  });
  return result;
}

}  // namespace trireme::worker::losses

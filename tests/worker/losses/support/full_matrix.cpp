#include "tests/worker/losses/support/full_matrix.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "tests/worker/collective/support/threads.h"
#include "worker/collective/slot_tree.h"
#include "worker/kernels/negative_choice.h"

namespace trireme::worker::losses {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

struct Masks {
  at::Tensor positive, negative;  // bool [n, n]
};

at::Tensor masked_logsumexp(const at::Tensor& s, const at::Tensor& mask) {
  return at::logsumexp(s.masked_fill(mask.logical_not(), kNone), 1);
}

at::Tensor softmax_rows(const at::Tensor& s, const Masks& masks, const ContrastiveOptions& o) {
  const at::Tensor positives = masks.positive.to(at::kDouble), negatives = masks.negative.to(at::kDouble);
  const at::Tensor some = negatives.sum(1, true).gt(0);
  at::Tensor weight =
      o.beta * s - masked_logsumexp(o.beta * s, masks.negative).unsqueeze(1) + negatives.sum(1, true).log();
  weight = at::where(some, weight, at::zeros_like(weight));
  if (o.detach_weights) weight = weight.detach();
  const at::Tensor positive = masked_logsumexp(s, masks.positive) + std::log(o.alpha);
  const at::Tensor both = at::where(
      some.squeeze(1), at::logaddexp(masked_logsumexp(s + weight, masks.negative), positive), positive);
  const at::Tensor kept = positives + negatives;
  const at::Tensor q =
      positives * (1 - o.smoothing) / positives.sum(1, true) + kept * o.smoothing / kept.sum(1, true);
  return both - (q * s).sum(1);
}

at::Tensor sigmoid_rows(const at::Tensor& z, const Masks& masks) {
  return (at::softplus(-z, 1, 1000) * masks.positive + at::softplus(z, 1, 1000) * masks.negative).sum(1);
}

// Sorts all candidates of a row: nothing of negative_limit().
Masks masks_of(const at::Tensor& label, const at::Tensor& place, std::int64_t direction,
               const WholeBatch& batch) {
  Masks masks;
  masks.positive = label.unsqueeze(1).eq(label.unsqueeze(0));
  masks.negative = masks.positive.logical_not();
  if (batch.options.negative_fraction >= 1) return masks;
  const auto* places = place.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < place.numel(); ++i) {
    const auto key = kernels::negative_key(batch.options.seed, batch.point.step, direction, places[i]);
    std::vector<std::pair<std::uint32_t, std::int64_t>> order;
    for (std::int64_t j = 0; j < place.numel(); ++j)
      if (masks.negative[i][j].item<bool>())
        order.emplace_back(kernels::negative_rank(key, static_cast<std::uint32_t>(places[j])), j);
    std::sort(order.begin(), order.end());
    const auto kept = std::llround(batch.options.negative_fraction * static_cast<double>(order.size()));
    for (auto k = static_cast<std::size_t>(kept); k < order.size(); ++k)
      masks.negative[i][order[k].second] = false;
  }
  return masks;
}

at::Tensor scattered(const at::Tensor& live_rows, const at::Tensor& place, std::int64_t all) {
  at::Tensor result = at::zeros({all, live_rows.size(1)}, live_rows.options());
  return result.index_copy(0, place, live_rows);
}

}  // namespace

WholeResult full_matrix(const WholeBatch& batch) {
  at::set_num_threads(1);
  const auto& o = batch.options;
  const at::Tensor place = batch.live.nonzero().view({-1});
  const auto all = batch.live.size(0), n = place.numel();
  const at::Tensor label = batch.labels.defined() ? batch.labels.index_select(0, place) : place;
  std::vector<at::Tensor> leaves{batch.image.index_select(0, place).to(at::kDouble).requires_grad_()};
  for (const auto& text : batch.texts)
    leaves.push_back(text.index_select(0, place).to(at::kDouble).requires_grad_());
  leaves.push_back(at::full({}, std::log(batch.point.scale), at::kDouble).requires_grad_());
  leaves.push_back(at::full({}, batch.point.bias, at::kDouble).requires_grad_());
  const auto pairs = batch.texts.size();
  const double count = static_cast<double>(n);
  const double share =
      o.reduction == Reduction::kSum ? 1 : (o.reduction == Reduction::kHalfMean ? 0.5 : 1) / count;
  WholeResult result{.live = n};
  at::Tensor total;
  for (std::size_t p = 0; p < pairs; ++p) {
    const at::Tensor s = leaves[pairs + 1].exp() * at::mm(leaves[0], leaves[p + 1].t());
    const at::Tensor u =
        batch.weights.empty() ? at::ones({n}, at::kDouble) : batch.weights[p].index_select(0, place);
    at::Tensor lines = at::zeros({n}, at::kDouble);
    for (const int columns : {0, 1}) {
      const auto masks = masks_of(label, place, 2 * static_cast<std::int64_t>(p) + columns, batch);
      const at::Tensor side = columns == 0 ? s : s.t();
      lines = lines + (o.kind == ContrastiveKind::kSoftmax ? softmax_rows(side, masks, o)
                                                           : sigmoid_rows(side + leaves[pairs + 2], masks));
    }
    const at::Tensor pair = share * (u * lines).sum();
    result.pair_loss.push_back(pair.item<double>());
    total = p == 0 ? pair : total + pair;
  }
  const auto gradients =
      torch::autograd::grad({total}, leaves, {}, std::nullopt, false, /*allow_unused=*/true);
  result.loss = total.item<double>();
  result.image = scattered(gradients[0], place, all);
  for (std::size_t p = 0; p < pairs; ++p) result.texts.push_back(scattered(gradients[p + 1], place, all));
  result.log_scale = gradients[pairs + 1].item<double>();
  if (gradients[pairs + 2].defined()) result.bias = gradients[pairs + 2].item<double>();
  return result;
}

std::vector<SlotEmbeddings> slots_of(const WholeBatch& batch, int ranks, int rank) {
  const auto rows = batch.live.size(0) / batch.slots;
  const auto own = collective::own_slots(batch.slots, ranks, rank);
  std::vector<SlotEmbeddings> slots;
  for (auto s = own.first; s < own.last; ++s) {
    const auto cut = [&](const at::Tensor& all) { return all.narrow(0, s * rows, rows); };
    SlotEmbeddings slot{.image_bD = cut(batch.image), .live_b = cut(batch.live)};
    for (const auto& text : batch.texts) slot.text_bD.push_back(cut(text));
    for (const auto& weight : batch.weights) slot.weight_b.push_back(cut(weight));
    if (batch.labels.defined()) slot.label_b = cut(batch.labels);
    slots.push_back(std::move(slot));
  }
  return slots;
}

WholeResult streamed(const WholeBatch& batch, int ranks) {
  std::vector<SlotGradient> gradients(static_cast<std::size_t>(batch.slots));
  WholeResult result;
  std::mutex mutex;
  collective::run_ranks(ranks, [&](collective::Group& group) {
    at::set_num_threads(1);  // as slot pools do
    const auto own = slots_of(batch, ranks, group.rank());
    const auto part = contrastive(own, batch.slots, batch.point, batch.options, group, one_after_the_other);
    const std::lock_guard lock(mutex);
    const auto first = collective::own_slots(batch.slots, ranks, group.rank()).first;
    for (std::size_t i = 0; i < own.size(); ++i)
      gradients[static_cast<std::size_t>(first) + i] = part.gradients[i];
    result.loss = part.loss;
    result.pair_loss = part.pair_loss;
    result.live = part.live;
    result.skipped = part.skipped;
  });
  std::vector<at::Tensor> image;
  std::vector<std::vector<at::Tensor>> texts(batch.texts.size());
  for (const auto& gradient : gradients) {
    image.push_back(gradient.image_bD);
    for (std::size_t p = 0; p < texts.size(); ++p) texts[p].push_back(gradient.text_bD[p]);
    result.log_scale += gradient.log_scale;
    result.bias += gradient.bias;
  }
  result.image = at::cat(image);
  for (const auto& parts : texts) result.texts.push_back(at::cat(parts));
  return result;
}

StandardInput standard_input() {
  const auto make = [](auto value) {
    at::Tensor rows = at::empty({4, 3}, at::kDouble);
    for (int i = 1; i <= 4; ++i)
      for (int k = 1; k <= 3; ++k) rows[i - 1][k - 1] = value(i, k);
    return rows / rows.norm(2, {1}, true);
  };
  const auto x = [](int i, int k) { return std::sin(0.7 * i * k); };
  return {make(x), make([&](int i, int k) { return x(i, k) + 0.5 * std::cos(1.3 * i + 0.9 * k); }),
          make([&](int i, int k) { return x(i, k) + 0.8 * std::sin(0.4 * i * (k + 1) + 1.0); })};
}

std::string difference(const WholeResult& got, const WholeResult& want, double tolerance) {
  std::string faults;
  const auto compare = [&](const char* what, double a, double b) {
    const double allowed = tolerance * std::max(1.0, std::abs(b));
    if (!(std::abs(a - b) <= allowed))
      faults += std::string(what) + " " + std::to_string(a) + " is not " + std::to_string(b) + "; ";
  };
  const auto compare_all = [&](const char* what, const at::Tensor& a, const at::Tensor& b) {
    if (tolerance == 0 && at::equal(a, b)) return;
    const double most = (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
    const double size = std::max(1e-3, b.abs().max().item<double>());
    if (tolerance == 0 || !(most <= tolerance * size))
      faults += std::string("gradient of ") + what + " is off by " + std::to_string(most / size) + "; ";
  };
  compare("loss", got.loss, want.loss);
  compare("d ln scale", got.log_scale, want.log_scale);
  compare("d bias", got.bias, want.bias);
  for (std::size_t p = 0; p < want.pair_loss.size(); ++p)
    compare("pair loss", got.pair_loss[p], want.pair_loss[p]);
  compare_all("image", got.image, want.image);
  for (std::size_t p = 0; p < want.texts.size(); ++p) compare_all("text", got.texts[p], want.texts[p]);
  return faults;
}

void one_after_the_other(std::int64_t n, const std::function<void(std::int64_t)>& body) {
  for (std::int64_t i = 0; i < n; ++i) body(i);
}

}  // namespace trireme::worker::losses

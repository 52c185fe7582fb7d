#include "worker/losses/contrastive.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>

#include "common/base/error.h"
#include "worker/collective/slot_tree.h"
#include "worker/losses/negative_choice.h"

namespace trireme::worker::losses {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

at::Tensor gathered(const std::vector<at::Tensor>& parts, collective::Group& group) {
  return group.all_gather(at::cat(parts).contiguous());
}

// -- one direction on the full matrix of live rows; columns by transposing --
struct Direction {
  at::Tensor positive_NN, negative_NN;  // bool
};

at::Tensor masked_logsumexp(const at::Tensor& s, const at::Tensor& mask) {
  return at::logsumexp(s.masked_fill(mask.logical_not(), kNone), 1);
}

at::Tensor softmax_rows(const at::Tensor& s, const Direction& d, const ContrastiveOptions& o) {
  const at::Tensor positives = d.positive_NN.to(at::kDouble), negatives = d.negative_NN.to(at::kDouble);
  const at::Tensor n_pos = positives.sum(1), n_neg = negatives.sum(1);
  const at::Tensor base = o.beta * s;
  at::Tensor weight = base - masked_logsumexp(base, d.negative_NN).unsqueeze(1) + n_neg.log().unsqueeze(1);
  if (o.detach_weights) weight = weight.detach();
  const at::Tensor hard = masked_logsumexp(s + weight, d.negative_NN);
  const at::Tensor pos = masked_logsumexp(s, d.positive_NN) + std::log(o.alpha);
  const at::Tensor denominator = at::logsumexp(at::stack({hard, pos}, 1), 1);
  const at::Tensor q = positives * ((1 - o.smoothing) / n_pos).unsqueeze(1) +
                       (positives + negatives) * (o.smoothing / (n_pos + n_neg)).unsqueeze(1);
  return denominator - (q * s).sum(1);
}

at::Tensor sigmoid_rows(const at::Tensor& z, const Direction& d) {
  return (at::softplus(-z) * d.positive_NN + at::softplus(z) * d.negative_NN).sum(1);
}

Direction masks(const at::Tensor& label, const std::vector<std::int64_t>& place, std::int64_t all,
                std::int64_t direction, const ContrastivePoint& point, const ContrastiveOptions& o) {
  Direction result;
  result.positive_NN = label.unsqueeze(1).eq(label.unsqueeze(0));
  result.negative_NN = result.positive_NN.logical_not();
  if (o.negative_fraction >= 1) return result;
  for (std::size_t i = 0; i < place.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    std::vector<std::uint8_t> candidate(static_cast<std::size_t>(all), 0);
    std::int64_t count = 0;
    for (std::size_t j = 0; j < place.size(); ++j)
      if (result.negative_NN[row][static_cast<std::int64_t>(j)].item<bool>()) {
        candidate[static_cast<std::size_t>(place[j])] = 1;
        ++count;
      }
    const auto key = kernels::negative_key(o.seed, point.step, direction, place[i]);
    const auto limit = kernels::negative_limit(key, candidate, count, kernels::negatives_kept(o.negative_fraction, count));
    for (std::size_t j = 0; j < place.size(); ++j)
      if (candidate[static_cast<std::size_t>(place[j])] != 0 &&
          !limit.keeps(kernels::negative_rank(key, static_cast<std::uint32_t>(place[j])), place[j]))
        result.negative_NN[row][static_cast<std::int64_t>(j)] = false;
  }
  return result;
}

}  // namespace

void check(const ContrastiveOptions& o) {
  const auto refuse = [](const std::string& what, const std::string& hint) {
    throw Error(ErrorKind::kInvalid, "contrastive loss: " + what, hint);
  };
  if (!(o.smoothing >= 0 && o.smoothing < 1))
    refuse("smoothing is " + std::to_string(o.smoothing), "use at least 0 and less than 1");
  if (!(o.alpha >= 0 && o.alpha <= 1)) refuse("alpha is " + std::to_string(o.alpha), "use 0 to 1");
  if (!(o.beta >= 0 && o.beta <= 100)) refuse("beta is " + std::to_string(o.beta), "use 0 to 100");
  if (!(o.negative_fraction > 0 && o.negative_fraction <= 1))
    refuse("negative_fraction is " + std::to_string(o.negative_fraction), "use over 0 and at most 1");
  if (o.kind == ContrastiveKind::kSigmoid && (o.smoothing != 0 || o.alpha != 1 || o.beta != 0))
    refuse("the sigmoid loss has no denominator to smooth or to re-weight",
           "set smoothing 0, alpha 1 and beta 0, or use the softmax loss");
}

ContrastiveResult contrastive(const std::vector<SlotEmbeddings>& own, std::int64_t slots,
                              const ContrastivePoint& point, const ContrastiveOptions& o,
                              collective::Group& group, const ForEach&) {
  check(o);
  const auto pairs = own.front().text_bD.size();
  const auto rows = own.front().image_bD.size(0);
  const auto first = collective::own_slots(slots, group.size(), group.rank()).first * rows;
  const auto collect = [&](auto pick) {
    std::vector<at::Tensor> parts;
    for (const auto& slot : own) parts.push_back(pick(slot));
    return gathered(parts, group);
  };
  const at::Tensor live = collect([](const auto& s) { return s.live_b; }).to(at::kBool);
  const auto all = live.size(0);
  const at::Tensor place_n = live.nonzero().view({-1});
  const auto n = place_n.numel();
  const bool labelled = own.front().label_b.defined();
  const at::Tensor label =
      (labelled ? collect([](const auto& s) { return s.label_b; }) : at::arange(all, at::kLong))
          .index({place_n});
  std::vector<std::int64_t> place(place_n.data_ptr<std::int64_t>(), place_n.data_ptr<std::int64_t>() + n);
  const auto type = own.front().image_bD.scalar_type();
  std::vector<at::Tensor> leaves{collect([](const auto& s) { return s.image_bD; })};
  for (std::size_t p = 0; p < pairs; ++p)
    leaves.push_back(collect([&](const auto& s) { return s.text_bD[p]; }));
  for (auto& leaf : leaves)
    leaf = leaf.masked_fill(live.logical_not().unsqueeze(1), 0).to(at::kDouble).requires_grad_();
  const at::Tensor log_scale = at::full({}, std::log(point.scale), at::kDouble).requires_grad_();
  const at::Tensor bias = at::full({}, point.bias, at::kDouble).requires_grad_();

  ContrastiveResult result{.live = n, .skipped = n < 2};
  at::Tensor total = (leaves[0].sum() + log_scale + bias) * 0;
  for (auto& leaf : leaves) total = total + leaf.sum() * 0;
  for (std::size_t p = 0; p < pairs && !result.skipped; ++p) {
    const at::Tensor x = leaves[0].index({place_n}), t = leaves[p + 1].index({place_n});
    const at::Tensor s = log_scale.exp() * at::mm(x, t.t());
    const at::Tensor u = own.front().weight_b.empty()
                             ? at::ones({n}, at::kDouble)
                             : collect([&](const auto& slot) { return slot.weight_b[p]; }).index({place_n});
    at::Tensor both;
    for (const int column : {0, 1}) {
      const auto d = masks(label, place, all, 2 * static_cast<std::int64_t>(p) + column, point, o);
      const at::Tensor side = column == 0 ? s : s.t();
      const at::Tensor loss =
          o.kind == ContrastiveKind::kSoftmax ? softmax_rows(side, d, o) : sigmoid_rows(side + bias, d);
      both = both.defined() ? both + loss : loss;
    }
    const double count = static_cast<double>(n);
    const double c = o.reduction == Reduction::kSum          ? 1
                     : o.reduction == Reduction::kSumOfMeans ? 1 / count
                                                             : 0.5 / count;
    const at::Tensor pair = c * (u * both).sum();
    result.pair_loss.push_back(pair.item<double>());
    total = total + pair;
  }
  result.pair_loss.resize(pairs, 0);
  result.loss = total.item<double>();
  std::vector<at::Tensor> inputs = leaves;
  inputs.push_back(log_scale);
  inputs.push_back(bias);
  const auto gradients = torch::autograd::grad({total}, inputs);
  const auto out = type == at::kDouble ? at::kDouble : at::kFloat;
  for (std::size_t i = 0; i < own.size(); ++i) {
    const auto at = first + static_cast<std::int64_t>(i) * rows;
    SlotGradient slot{.image_bD = gradients[0].narrow(0, at, rows).to(out)};
    for (std::size_t p = 0; p < pairs; ++p)
      slot.text_bD.push_back(gradients[p + 1].narrow(0, at, rows).to(out));
    slot.log_scale = gradients[pairs + 1].item<double>() / static_cast<double>(slots);
    slot.bias = gradients[pairs + 2].item<double>() / static_cast<double>(slots);
    result.gradients.push_back(std::move(slot));
  }
  return result;
}

}  // namespace trireme::worker::losses

#include "worker/losses/alip_gates.h"

#include <ATen/ATen.h>

#include <cmath>

#include "common/base/error.h"
#include "worker/collective/slot_tree.h"

namespace trireme::worker::losses {
namespace {

constexpr std::int64_t kSums = 4;  // S_tc, S_xt, S_xc, live rows

at::Tensor diagonal(const at::Tensor& a_bD, const at::Tensor& b_bD) {
  const auto type = a_bD.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::mul(a_bD.to(type), b_bD.to(type)).sum(1).cpu().to(at::kDouble);
}

struct Similarities {
  at::Tensor tc_b, xt_b, xc_b, live_b;  // float64, bool
};

Similarities similarities(const SlotEmbeddings& slot) {
  if (slot.text_bD.size() != 2)
    throw Error(ErrorKind::kInvalid,
                "ALIP's gates compare the raw text with the synthetic caption; this step has " +
                    std::to_string(slot.text_bD.size()) + " text(s) per image",
                "train on both texts, or turn the gates off");
  return {diagonal(slot.text_bD[0], slot.text_bD[1]), diagonal(slot.image_bD, slot.text_bD[0]),
          diagonal(slot.image_bD, slot.text_bD[1]), slot.live_b.to(at::kBool)};
}

// [kSums] of one slot, or of three weights.
at::Tensor live_sums(const std::vector<at::Tensor>& values, const at::Tensor& live_b) {
  std::vector<at::Tensor> sums;
  for (const auto& value_b : values) sums.push_back(value_b.masked_fill(live_b.logical_not(), 0).sum());
  sums.push_back(live_b.sum().to(at::kDouble));
  return at::stack(sums);
}

// Sum over all slots; `own` [slots of this rank, kSums].
at::Tensor over_all_slots(const std::vector<at::Tensor>& own, collective::Group& group) {
  return collective::tree_sum_rows(group.all_gather(at::stack(own)));
}

void check_range(const char* name, double value, double most) {
  if (!(value >= 0 && value <= most))
    throw Error(ErrorKind::kInvalid, std::string("ALIP gates: ") + name + " is " + std::to_string(value),
                "use 0 to " + std::to_string(most));
}

}  // namespace

void check(const GateOptions& options) {
  check_range("gamma_sample", options.gamma_sample, 100);
  check_range("gamma_pair", options.gamma_pair, 100);
  check_range("momentum", options.momentum, 1);
}

GateStep alip_gates(const std::vector<SlotEmbeddings>& own, std::int64_t slots, const GateState& state,
                    const GateOptions& options, collective::Group& group) {
  check(options);
  static_cast<void>(collective::own_slots(slots, group.size(), group.rank()));
  std::vector<Similarities> of_slot;
  std::vector<at::Tensor> sums;
  for (const auto& slot : own) {
    of_slot.push_back(similarities(slot));
    const auto& s = of_slot.back();
    sums.push_back(live_sums({s.tc_b, s.xt_b, s.xc_b}, s.live_b));
  }
  const at::Tensor total = over_all_slots(sums, group);
  const double live = total[kSums - 1].item<double>();
  GateStep step{.state = state};
  const auto follow = [&](double& h, int which) {
    if (live > 0) h = options.momentum * h + (1 - options.momentum) * (total[which].item<double>() / live);
  };
  follow(step.state.h_tc, 0);
  follow(step.state.h_xt, 1);
  follow(step.state.h_xc, 2);

  sums.clear();
  for (const auto& s : of_slot) {
    const at::Tensor raw = ((s.tc_b - step.state.h_tc) * options.gamma_sample).exp();
    const at::Tensor suspect = raw.lt(1);
    const at::Tensor one = at::ones_like(raw);
    const auto gate = [&](bool on, const at::Tensor& value) {
      return on ? at::where(suspect, value, one) : one;
    };
    const at::Tensor sample = gate(options.sample, raw);
    const at::Tensor text = gate(options.text, ((s.xt_b - step.state.h_xt) * options.gamma_pair).exp());
    const at::Tensor caption = gate(options.caption, ((s.xc_b - step.state.h_xc) * options.gamma_pair).exp());
    step.weight_b.push_back({sample * text, sample * caption});
    step.gate_3b.push_back(at::stack({sample, text, caption}));
    sums.push_back(live_sums({sample, text, caption}, s.live_b));
  }
  if (live <= 0) return step;
  const at::Tensor means = over_all_slots(sums, group) / live;
  step.mean_sample = means[0].item<double>();
  step.mean_text = means[1].item<double>();
  step.mean_caption = means[2].item<double>();
  return step;
}

std::vector<std::pair<std::string, at::Tensor>> tensors_of(const GateState& state) {
  const auto scalar = [](double value) { return at::full({}, value, at::kDouble); };
  return {{"alip.h_tc", scalar(state.h_tc)},
          {"alip.h_xt", scalar(state.h_xt)},
          {"alip.h_xc", scalar(state.h_xc)}};
}

GateState gate_state_from(const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  const auto read = [&](const std::string& name) {
    for (const auto& [its_name, tensor] : tensors) {
      if (its_name != name) continue;
      if (tensor.numel() != 1 || tensor.scalar_type() != at::kDouble || !std::isfinite(tensor.item<double>()))
        throw Error(ErrorKind::kDamaged, "tensor " + name + " of the gates is no single finite float64");
      return tensor.item<double>();
    }
    throw Error(ErrorKind::kDamaged, "tensor " + name + " of the gates is missing",
                "resume from a checkpoint that was written with gates");
  };
  return {read("alip.h_tc"), read("alip.h_xt"), read("alip.h_xc")};
}

}  // namespace trireme::worker::losses

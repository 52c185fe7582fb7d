#include "worker/losses/alip_gates.h"

#include <ATen/ATen.h>

#include <cmath>

#include "common/base/error.h"
#include "worker/collective/slot_tree.h"
#include "worker/kernels/sent.h"

namespace trireme::worker::losses {
namespace {

constexpr std::int64_t kSums = 4;  // S_tc, S_xt, S_xc, live rows

at::Tensor diagonal(const at::Tensor& a_bD, const at::Tensor& b_bD) {
  const auto type = a_bD.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::mul(a_bD.to(type), b_bD.to(type)).sum(1);
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
  return {diagonal(slot.text_bD[0], slot.text_bD[1]).to(at::kDouble),
          diagonal(slot.image_bD, slot.text_bD[0]).to(at::kDouble),
          diagonal(slot.image_bD, slot.text_bD[1]).to(at::kDouble),
          kernels::sent_to(slot.live_b, slot.image_bD.device()).to(at::kBool)};
}

Similarities on_host(Similarities s) {
  for (at::Tensor* one : {&s.tc_b, &s.xt_b, &s.xc_b, &s.live_b}) *one = one->cpu();
  return s;
}

// W^s, W^t and W^c of a slot, given the means H (numbers, or tensors beside the similarities).
template <class Mean>
std::vector<at::Tensor> gates_of(const Similarities& s, const Mean& h_tc, const Mean& h_xt, const Mean& h_xc,
                                 const GateOptions& options) {
  const at::Tensor raw = ((s.tc_b - h_tc) * options.gamma_sample).exp();
  const at::Tensor suspect = raw.lt(1);
  const at::Tensor one = at::ones_like(raw);
  const auto gate = [&](bool on, const at::Tensor& value) {
    return on ? at::where(suspect, value, one) : one;
  };
  return {gate(options.sample, raw), gate(options.text, ((s.xt_b - h_xt) * options.gamma_pair).exp()),
          gate(options.caption, ((s.xc_b - h_xc) * options.gamma_pair).exp())};
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
    of_slot.push_back(on_host(similarities(slot)));
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
    const auto gates = gates_of(s, step.state.h_tc, step.state.h_xt, step.state.h_xc, options);
    step.weight_b.push_back({gates[0] * gates[1], gates[0] * gates[2]});
    step.gate_3b.push_back(at::stack(gates));
    sums.push_back(live_sums(gates, s.live_b));
  }
  if (live <= 0) return step;
  const at::Tensor means = over_all_slots(sums, group) / live;
  step.mean_sample = means[0].item<double>();
  step.mean_text = means[1].item<double>();
  step.mean_caption = means[2].item<double>();
  return step;
}

GatesThere alip_gates_there(const std::vector<SlotEmbeddings>& own, std::int64_t slots, const at::Tensor& h_3,
                            const GateOptions& options, collective::Group& group) {
  const at::NoGradGuard no_grad;
  check(options);
  static_cast<void>(collective::own_slots(slots, group.size(), group.rank()));
  std::vector<Similarities> of_slot;
  std::vector<at::Tensor> sums;
  for (const auto& slot : own) {
    const auto& s = of_slot.emplace_back(similarities(slot));
    sums.push_back(live_sums({s.tc_b, s.xt_b, s.xc_b}, s.live_b));
  }
  const at::Tensor total = over_all_slots(sums, group);
  const at::Tensor live = total[kSums - 1], some = live.gt(0), count = live.clamp_min(1);
  const at::Tensor means_3 = total.narrow(0, 0, kSums - 1) / count;
  GatesThere step;
  step.h_3 = at::where(some, options.momentum * h_3 + (1 - options.momentum) * means_3, h_3);
  sums.clear();
  for (const auto& s : of_slot) {
    const auto gates = gates_of(s, step.h_3[0], step.h_3[1], step.h_3[2], options);
    step.weight_b.push_back({gates[0] * gates[1], gates[0] * gates[2]});
    step.gate_3b.push_back(at::stack(gates));
    sums.push_back(live_sums(gates, s.live_b));
  }
  const at::Tensor gate_means = over_all_slots(sums, group).narrow(0, 0, kSums - 1) / count;
  step.mean_3 = at::where(some, gate_means, at::ones_like(gate_means));
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

#include "worker/losses/global_batch.h"

#include <ATen/ATen.h>

#include <bit>
#include <cstdio>
#include <string>
#include <unordered_map>

#include "common/base/error.h"
#include "worker/collective/slot_tree.h"
#include "worker/kernels/pair_tile/pair_tile.h"

namespace trireme::worker::losses {
namespace {

struct Field {
  const char* name;
  std::int64_t bits;
  bool real = false;
};

Field real(const char* name, double value) {
  return {name, std::bit_cast<std::int64_t>(value), true};
}

std::string shown(const Field& field, std::int64_t bits) {
  if (!field.real) return std::to_string(bits);
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", std::bit_cast<double>(bits));
  return text;
}

std::string shape_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return "none";
  std::string text = at::toString(tensor.scalar_type());
  for (const auto size : tensor.sizes())
    text += (text.back() >= '0' && text.back() <= '9' ? " x " : " ") + std::to_string(size);
  return text;
}

bool is(const at::Tensor& tensor, at::ScalarType type, std::int64_t rows) {
  return tensor.defined() && tensor.is_cpu() && tensor.scalar_type() == type && tensor.dim() == 1 &&
         tensor.size(0) == rows && tensor.is_contiguous();
}

// What is wrong with a slot next to the rank's first one; "" when nothing is.
std::string fault_of(const SlotEmbeddings& slot, const SlotEmbeddings& first) {
  const auto& x = slot.image_bD;
  if (!x.defined() || x.dim() != 2 || x.size(0) < 1 || x.size(1) < 1) return "image rows are " + shape_of(x);
  const auto type = x.scalar_type();
  if (type != at::kFloat && type != at::kDouble && type != at::kBFloat16)
    return std::string("rows are ") + at::toString(type) + ", not float32, float64 or bfloat16";
  if (x.sizes() != first.image_bD.sizes() || type != first.image_bD.scalar_type())
    return "image rows are " + shape_of(x) + ", those of the first slot " + shape_of(first.image_bD);
  if (slot.text_bD.empty() || slot.text_bD.size() != first.text_bD.size())
    return std::to_string(slot.text_bD.size()) + " texts per image";
  for (const auto& text : slot.text_bD)
    if (!text.defined() || text.sizes() != x.sizes() || text.scalar_type() != type)
      return "text rows are " + shape_of(text) + ", image rows " + shape_of(x);
  if (!is(slot.live_b, at::kByte, x.size(0))) return "the live mask is " + shape_of(slot.live_b);
  if (!slot.weight_b.empty() && slot.weight_b.size() != slot.text_bD.size())
    return std::to_string(slot.weight_b.size()) + " weights per row for " +
           std::to_string(slot.text_bD.size()) + " texts";
  for (const auto& weight : slot.weight_b) {
    const bool there = weight.defined() && !weight.is_cpu() && weight.device() == x.device();
    if (!is(weight, at::kDouble, x.size(0)) && !there) return "weights are " + shape_of(weight);
    if (!there && weight.lt(0).any().item<bool>()) return "a weight is negative";
  }
  if (slot.label_b.defined() && !is(slot.label_b, at::kLong, x.size(0)))
    return "labels are " + shape_of(slot.label_b);
  if (slot.weight_b.size() != first.weight_b.size() || slot.label_b.defined() != first.label_b.defined())
    return "some slots have weights or labels and others have none";
  return "";
}

std::string fault_of(const std::vector<SlotEmbeddings>& own, std::int64_t slots,
                     const ContrastiveOptions& options, const collective::Group& group) {
  try {
    check(options);
    const auto mine = collective::own_slots(slots, group.size(), group.rank());
    if (static_cast<std::int64_t>(own.size()) != mine.size() || own.empty())
      return std::to_string(own.size()) + " slots were given, " + std::to_string(mine.size()) +
             " are this rank's";
  } catch (const Error& error) {
    return error.what();
  }
  for (std::size_t i = 0; i < own.size(); ++i) {
    const auto fault = fault_of(own[i], own.front());
    if (!fault.empty()) return "slot " + std::to_string(i) + ": " + fault;
  }
  if (slots * own.front().image_bD.size(0) == 1 && options.alpha != 1)
    return "a batch of one row has no negatives, so alpha must be 1";
  return "";
}

std::vector<Field> fields_of(const std::vector<SlotEmbeddings>& own, std::int64_t slots,
                             const ContrastivePoint& point, const ContrastiveOptions& o, bool sound) {
  const SlotEmbeddings none;
  const auto& slot = own.empty() ? none : own.front();
  const auto& x = slot.image_bD;
  return {{"faults", sound ? 0 : 1},
          {"slots", slots},
          {"rows of a slot", sound ? x.size(0) : 0},
          {"width of a row", sound ? x.size(1) : 0},
          {"dtype of rows (torch's number)", sound ? static_cast<std::int64_t>(x.scalar_type()) : 0},
          {"texts per image", static_cast<std::int64_t>(slot.text_bD.size())},
          {"weights per row", static_cast<std::int64_t>(slot.weight_b.size())},
          {"labelled", slot.label_b.defined() ? 1 : 0},
          {"kind", static_cast<std::int64_t>(o.kind)},
          {"reduction", static_cast<std::int64_t>(o.reduction)},
          real("smoothing", o.smoothing),
          real("alpha", o.alpha),
          real("beta", o.beta),
          {"detach_weights", o.detach_weights ? 1 : 0},
          real("negative_fraction", o.negative_fraction),
          {"seed", static_cast<std::int64_t>(o.seed)},
          {"step", point.step},
          real("scale", point.scale),
          real("bias", point.bias)};
}

[[noreturn]] void refuse(const std::string& what, const std::string& hint) {
  throw Error(ErrorKind::kInvalid, "contrastive loss: " + what, hint);
}

void compare(const std::vector<Field>& fields, const at::Tensor& all_WF, const std::string& fault, int rank) {
  const auto value = [&](std::int64_t of_rank, std::size_t field) {
    return all_WF[of_rank][static_cast<std::int64_t>(field)].item<std::int64_t>();
  };
  if (!fault.empty())
    refuse("rank " + std::to_string(rank) + ": " + fault, "give every rank slots of one shape");
  for (std::int64_t r = 0; r < all_WF.size(0); ++r)
    if (value(r, 0) != 0)
      refuse("rank " + std::to_string(r) + " refuses its input", "its own message says why");
  const at::Tensor differs = all_WF.ne(all_WF[0].unsqueeze(0));
  if (!differs.any().item<bool>()) return;
  const at::Tensor first = differs.nonzero()[0];
  const auto other = first[0].item<std::int64_t>();
  const auto field = static_cast<std::size_t>(first[1].item<std::int64_t>());
  refuse(std::string(fields[field].name) + " is " + shown(fields[field], value(0, field)) +
             " on rank 0 and " + shown(fields[field], value(other, field)) + " on rank " +
             std::to_string(other),
         "start all workers from one job and one checkpoint");
}

// |P(i)| by counting labels.
at::Tensor count_positives(const at::Tensor& live_N, const at::Tensor& label_N) {
  at::Tensor counts = at::ones({live_N.size(0)}, at::kLong);
  if (!label_N.defined()) return counts;
  const auto* live = live_N.data_ptr<std::uint8_t>();
  const auto* label = label_N.data_ptr<std::int64_t>();
  std::unordered_map<std::int64_t, std::int64_t> rows_of;
  for (std::int64_t i = 0; i < live_N.size(0); ++i)
    if (live[i] != 0) ++rows_of[label[i]];
  for (std::int64_t i = 0; i < live_N.size(0); ++i)
    if (live[i] != 0) counts.data_ptr<std::int64_t>()[i] = rows_of[label[i]];
  return counts;
}

template <class Pick>
at::Tensor gather(const std::vector<SlotEmbeddings>& own, collective::Group& group, Pick pick) {
  std::vector<at::Tensor> parts;
  for (const auto& slot : own) parts.push_back(pick(slot));
  return group.all_gather(at::cat(parts).contiguous());
}

}  // namespace

GlobalBatch agree(const std::vector<SlotEmbeddings>& own, std::int64_t slots, const ContrastivePoint& point,
                  const ContrastiveOptions& options, collective::Group& group) {
  const auto fault = fault_of(own, slots, options, group);
  const auto fields = fields_of(own, slots, point, options, fault.empty());
  const auto count = static_cast<std::int64_t>(fields.size());
  at::Tensor mine = at::empty({1, count + 1}, at::kLong);
  for (std::size_t i = 0; i < fields.size(); ++i) mine.data_ptr<std::int64_t>()[i] = fields[i].bits;
  const bool sound = fault.empty();
  mine[0][count] = sound ? kernels::largest_tile(own.front().image_bD.device()) : 1;
  const at::Tensor all = group.all_gather(mine);
  compare(fields, all.narrow(1, 0, count), fault, group.rank());

  const auto range = collective::own_slots(slots, group.size(), group.rank());
  const auto& x = own.front().image_bD;
  GlobalBatch batch{.slots = slots,
                    .rows = x.size(0),
                    .width = x.size(1),
                    .pairs = static_cast<std::int64_t>(own.front().text_bD.size()),
                    .first_slot = range.first,
                    .own_slots = range.size()};
  batch.tile = all.select(1, count).min().item<std::int64_t>();  // devices may differ
  batch.compute = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  batch.live_N = gather(own, group, [](const auto& slot) { return slot.live_b; }).ne(0).to(at::kByte);
  batch.live = batch.live_N.sum().item<std::int64_t>();
  if (own.front().label_b.defined())
    batch.label_N = gather(own, group, [](const auto& slot) { return slot.label_b; });
  batch.positives_N = count_positives(batch.live_N, batch.label_N);
  return batch;
}

}  // namespace trireme::worker::losses

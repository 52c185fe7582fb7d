#include "worker/stages/train/signals/signals.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include <nlohmann/json.hpp>

#include "common/base/error.h"

namespace trireme::worker::stages::train {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::int64_t kGroups = 3;  // of Truth
constexpr std::int64_t kNotCounted = kGroups;

// Similarities of unit rows; W^s is at most 1, the other weights rarely above 4 (gamma 2).
std::pair<double, double> range_of(const std::string& name) {
  if (name.starts_with("similarity.")) return {-1, 1};
  return {0, name == "weight.sample" ? 1 : 4};
}

std::int64_t size_of(const std::vector<std::string>& names) {
  return static_cast<std::int64_t>(names.size());
}

std::int64_t bin_of(double value, std::pair<double, double> range) {
  const double share = (value - range.first) / (range.second - range.first);
  return static_cast<std::int64_t>(
      std::clamp(share * static_cast<double>(kSignalBins), 0.0, static_cast<double>(kSignalBins - 1)));
}

std::vector<std::int64_t> shown(const std::vector<std::int64_t>& counts) {
  std::vector<std::int64_t> out(kShownBins, 0);
  for (std::int64_t i = 0; i < kSignalBins; ++i)
    out[static_cast<std::size_t>(i * kShownBins / kSignalBins)] += counts[static_cast<std::size_t>(i)];
  return out;
}

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

}  // namespace

SignalTally::SignalTally(std::vector<std::string> names)
    : names_(std::move(names)),
      counts_(at::zeros({size_of(names_), kGroups, kSignalBins}, at::kLong)),
      sums_(at::zeros({size_of(names_), kGroups}, at::kDouble)) {}

void SignalTally::add(const std::vector<at::Tensor>& values, const std::vector<at::Tensor>& live,
                      const std::vector<std::vector<Truth>>& truth, collective::Group& group) {
  std::vector<at::Tensor> groups;
  for (std::size_t slot = 0; slot < values.size(); ++slot) {
    at::Tensor of_slot = at::empty({static_cast<std::int64_t>(truth[slot].size())}, at::kDouble);
    for (std::size_t row = 0; row < truth[slot].size(); ++row)
      of_slot.data_ptr<double>()[row] = live[slot].const_data_ptr<std::uint8_t>()[row] != 0
                                            ? static_cast<double>(truth[slot][row])
                                            : static_cast<double>(kNotCounted);
    groups.push_back(of_slot);
  }
  // [slots of all ranks * b, signals + 1], in slot order on every rank: sums have the same bits everywhere.
  std::vector<at::Tensor> columns;
  for (std::size_t slot = 0; slot < values.size(); ++slot)
    columns.push_back(at::cat({values[slot], groups[slot].unsqueeze(0)}).t());
  const at::Tensor all = group.all_gather(at::cat(columns).contiguous());
  const double* row = all.const_data_ptr<double>();
  auto* const counts = counts_.data_ptr<std::int64_t>();
  auto* const sums = sums_.data_ptr<double>();
  const auto signals = size_of(names_);
  for (std::int64_t r = 0; r < all.size(0); ++r, row += signals + 1) {
    const auto of = static_cast<std::int64_t>(row[signals]);
    if (of == kNotCounted) continue;
    for (std::int64_t k = 0; k < signals; ++k) {
      if (!std::isfinite(row[k])) continue;
      const auto place = k * kGroups + of;
      ++counts[place * kSignalBins + bin_of(row[k], range_of(names_[static_cast<std::size_t>(k)]))];
      sums[place] += row[k];
    }
  }
}

std::int64_t SignalTally::samples() const {
  return names_.empty() ? 0 : counts_[0].sum().item<std::int64_t>();
}

std::string SignalTally::to_json(std::int64_t epoch) const {
  Json metrics = Json::object(), histograms = Json::array();
  for (std::int64_t k = 0; k < size_of(names_); ++k) {
    const std::string& name = names_[static_cast<std::size_t>(k)];
    std::array<std::vector<std::int64_t>, kGroups> counts;
    std::array<double, kGroups> mean{};
    for (std::int64_t g = 0; g < kGroups; ++g) {
      const auto* const first = counts_.const_data_ptr<std::int64_t>() + (k * kGroups + g) * kSignalBins;
      auto& of_group = counts[static_cast<std::size_t>(g)];
      of_group.assign(first, first + kSignalBins);
      const auto n = std::accumulate(of_group.begin(), of_group.end(), std::int64_t{0});
      mean[static_cast<std::size_t>(g)] =
          sums_[k][g].item<double>() / static_cast<double>(n);  // NaN for none
    }
    const double auc = auc_of(counts[0], counts[1]);
    std::vector<std::int64_t> together(counts[0]);
    for (std::size_t i = 0; i < together.size(); ++i) together[i] += counts[1][i] + counts[2][i];
    const auto [low, high] = range_of(name);
    Json one{{"name", name}, {"low", low}, {"high", high}, {"auc", number(auc)}, {"all", shown(together)}};
    if (std::isfinite(auc)) {
      metrics["auc." + name] = auc;
      metrics["clean." + name] = number(mean[0]);
      metrics["corrupted." + name] = number(mean[1]);
      one["clean"] = shown(counts[0]);
      one["corrupted"] = shown(counts[1]);
    }
    histograms.push_back(std::move(one));
  }
  return Json{{"format", "trireme-signals"},
              {"version", 1},
              {"epoch", epoch},
              {"samples", samples()},
              {"gated", !names_.empty() && names_.back().starts_with("weight.")},
              {"metrics", metrics},
              {"histograms", histograms}}
             .dump() +
         "\n";
}

NamedTensors SignalTally::tensors() const {
  return {{"signals.counts", counts_.clone()}, {"signals.sums", sums_.clone()}};
}

void SignalTally::load(const NamedTensors& tensors) {
  counts_.zero_();
  sums_.zero_();
  for (const auto& [name, tensor] : tensors)
    for (auto& [own_name, own] : NamedTensors{{"signals.counts", counts_}, {"signals.sums", sums_}}) {
      if (own_name != name) continue;
      if (tensor.sizes() != own.sizes() || tensor.scalar_type() != own.scalar_type())
        throw Error(ErrorKind::kDamaged, "tensor " + name + " of the checkpoint has another shape or type");
      own.copy_(tensor);
    }
}

double auc_of(const std::vector<std::int64_t>& clean, const std::vector<std::int64_t>& corrupted) {
  double below = 0, pairs = 0;  // corrupted ones in lower bins; ordered pairs
  for (std::size_t i = 0; i < clean.size(); ++i) {
    pairs += static_cast<double>(clean[i]) * (below + static_cast<double>(corrupted[i]) / 2);
    below += static_cast<double>(corrupted[i]);
  }
  const double all = static_cast<double>(std::accumulate(clean.begin(), clean.end(), std::int64_t{0}));
  return all > 0 && below > 0 ? pairs / (all * below) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace trireme::worker::stages::train

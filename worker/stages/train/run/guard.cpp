#include "worker/stages/train/run/guard.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <string>

#include "common/base/error.h"

namespace trireme::worker::stages::train {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::kInvalid, what,
              "lower optimizer.learning_rate, set optimizer.gradient_clip_norm, or look at the batch of that "
              "step");
}

at::ScalarType integers_of(std::int64_t bytes) {
  return bytes == 1 ? at::kByte : bytes == 2 ? at::kShort : bytes == 4 ? at::kInt : at::kLong;
}

// Of its elements as integers, modulo 2^64.
at::Tensor sum_of_bits(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.detach().contiguous();
  return plain.view(integers_of(plain.element_size())).sum(at::kLong);
}

[[noreturn]] void differ(const std::string& tensor, std::int64_t step, const std::vector<std::int64_t>& sums,
                         const std::vector<Rank>& members) {
  std::map<std::int64_t, std::size_t> votes;
  for (const auto sum : sums) ++votes[sum];
  const auto most = std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
  const bool told = 2 * most->second > sums.size();
  std::string who;
  for (std::size_t rank = 0; rank < sums.size(); ++rank)
    if (!told || sums[rank] != most->first)
      who += (who.empty() ? "" : ", ") + std::to_string(members.at(rank));
  const std::string what = "after step " + std::to_string(step) + " " +
                           (told ? "worker " + who + " holds other bits in '" + tensor + "' than the rest"
                                 : "workers " + who + " hold different bits in '" + tensor + "'");
  throw Error(ErrorKind::kDamaged, what,
              "the memory or the device of such a host is faulty: leave it out. Checkpoints of up to " +
                  std::to_string(kCompareReplicasEvery) +
                  " steps before may hold it: take them out with 'trireme checkpoints RUN --remove'");
}

}  // namespace

GuardAction Guard::after(std::int64_t step, bool non_finite, std::int64_t rollbacks) {
  in_a_row_ = non_finite ? in_a_row_ + 1 : 0;
  if (!non_finite) return GuardAction::kGoOn;
  const std::string here = "loss or gradient of step " + std::to_string(step) + " was not finite";
  if (spec_.on_non_finite == jobs::OnNonFinite::kStop) refuse(here);
  if (spec_.on_non_finite == jobs::OnNonFinite::kSkip) {
    if (in_a_row_ >= spec_.most_in_a_row)
      refuse("loss or gradient of " + std::to_string(in_a_row_) + " steps in a row up to step " +
             std::to_string(step) + " was not finite");
    return GuardAction::kGoOn;
  }
  if (rollbacks >= spec_.most_rollbacks)
    refuse(here + ", after " + std::to_string(rollbacks) + " returns to a checkpoint");
  return GuardAction::kRollBack;
}

void compare_replicas(const NamedTensors& tensors, std::int64_t step, collective::Group& group,
                      const std::vector<Rank>& members) {
  if (group.size() == 1 || tensors.empty()) return;
  std::vector<at::Tensor> sums;
  for (const auto& [name, tensor] : tensors) sums.push_back(sum_of_bits(tensor));
  const auto count = static_cast<std::int64_t>(sums.size());
  const at::Tensor own = at::stack(sums).cpu();
  const at::Tensor all = group.all_gather(own).view({group.size(), count});
  if (at::equal(all, all[0].expand_as(all))) return;
  for (std::int64_t i = 0; i < count; ++i) {
    std::vector<std::int64_t> of_ranks;
    for (int rank = 0; rank < group.size(); ++rank) of_ranks.push_back(all[rank][i].item<std::int64_t>());
    if (std::ranges::count(of_ranks, of_ranks[0]) != group.size())
      differ(tensors[static_cast<std::size_t>(i)].first, step, of_ranks, members);
  }
}

}  // namespace trireme::worker::stages::train

#include "worker/stages/train/run/count_sum.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <sstream>

namespace trireme::worker::stages::train {

std::map<std::string, std::int64_t> sum_over(collective::Group& group,
                                             const std::map<std::string, std::int64_t>& own) {
  std::string text;
  for (const auto& [name, count] : own) text += name + "\n" + std::to_string(count) + "\n";
  const auto length = static_cast<std::int64_t>(text.size());
  const std::int64_t longest = group.all_gather(at::full({1}, length, at::kLong)).max().item<std::int64_t>();
  std::map<std::string, std::int64_t> sum;
  if (longest == 0) return sum;
  at::Tensor bytes = at::zeros({longest}, at::kByte);
  std::copy(text.begin(), text.end(), bytes.data_ptr<std::uint8_t>());
  const at::Tensor all = group.all_gather(bytes);
  for (int rank = 0; rank < group.size(); ++rank) {
    const auto* const begin = all.data_ptr<std::uint8_t>() + rank * longest;
    std::istringstream lines(std::string(begin, std::find(begin, begin + longest, 0)));
    for (std::string name, count; std::getline(lines, name) && std::getline(lines, count);)
      sum[name] += std::stoll(count);
  }
  return sum;
}

}  // namespace trireme::worker::stages::train

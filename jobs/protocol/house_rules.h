// What a coordinator tells a worker before it greets it: the folders that the jobs to come may touch, because
// they come over HTTP. A mail of its own beside the messages, since it is of no job. A coordinator that the
// operator gave its one job sends none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::jobs {

struct HouseRules {
  std::uint64_t run = 0, incarnation = 0;  // of whoever sends them
  std::vector<std::string> read, write;    // folders; what may be written may be read
  std::vector<std::string> never;          // lie in these and are out of bounds
};

std::string encode_rules(const HouseRules& rules);
// Nothing when the bytes are another kind of mail. Throws kDamaged for rules that cannot be read.
std::optional<HouseRules> decode_rules(std::string_view bytes);

}  // namespace trireme::jobs

// Which samples of a range the filters before a stage have kept.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::worker::data {

// Positions of [first, last) that no file of verdicts has dropped, ascending. Throws as read_verdicts().
std::vector<std::int64_t> kept_samples(std::int64_t first, std::int64_t last,
                                       const std::vector<std::string>& verdict_files);

}  // namespace trireme::worker::data

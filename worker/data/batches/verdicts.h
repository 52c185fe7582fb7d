// The file of kept and dropped samples that a filter task leaves (Verdicts in jobs/protocol/FORMAT.md).
#pragma once

#include <cstdint>
#include <vector>

#include "common/io/file.h"

namespace trireme::worker::data {

struct KeptSamples {
  std::int64_t first = 0, count = 0;  // the range that was judged
  std::vector<std::int32_t> kept;     // positions in the shard, ascending
};

// Throws kDamaged naming file and line: wrong format, a sample missing, twice, out of order or of range.
KeptSamples read_verdicts(const io::Path& path);

}  // namespace trireme::worker::data

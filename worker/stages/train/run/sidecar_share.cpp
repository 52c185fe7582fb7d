#include "worker/stages/train/run/sidecar_share.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace trireme::worker::stages::train {

std::string SidecarShare::text() const {
  const double n = static_cast<double>(std::max<std::int64_t>(steps, 1));
  const double whole = std::max(all_seconds, 1e-9);
  std::array<char, 200> line{};
  std::snprintf(
      line.data(), line.size(),
      "sidecars: joined in %.3f s, then %.0f us of %.1f ms per step (%.3f %%), with joining %.3f %% "
      "of the processor time",
      opened_seconds, 1e6 * step_seconds / n, 1e3 * all_seconds / n, 100 * step_seconds / whole,
      100 * (step_seconds + opened_seconds) / whole);
  return line.data();
}

}  // namespace trireme::worker::stages::train

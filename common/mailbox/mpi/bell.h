// Wakes the ranks of one host that wait for mail, since MPI itself can only be polled: a datagram socket per
// rank under one of the kernel's abstract names, which is no file and goes with its process. Whoever rings
// one without having sent mail costs a look at the mailbox and nothing else.
#pragma once

#include <chrono>
#include <cstdint>

#include "common/base/ids.h"

namespace trireme {

class Bell {
 public:
  // `world` tells this MPI world apart from others on the host. Where there is no socket nobody hears it.
  Bell(std::uint64_t world, Rank rank);
  ~Bell();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  // False: nobody of that rank on this host. Never waits. Any thread.
  bool ring(Rank rank) const noexcept;
  // Waits until it is rung, or was since the last wait. True: by another rank. One thread.
  bool wait(std::chrono::nanoseconds at_most) const noexcept;

 private:
  std::uint64_t world_;
  Rank rank_;
  int socket_ = -1;
};

}  // namespace trireme

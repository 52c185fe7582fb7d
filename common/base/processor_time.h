// Processor time used so far, in seconds: unlike the wall clock it does not count what other programs took.
#pragma once

#include <ctime>

namespace trireme {

inline double processor_seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}
inline double thread_seconds() {
  return processor_seconds(CLOCK_THREAD_CPUTIME_ID);
}
inline double process_seconds() {
  return processor_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

}  // namespace trireme

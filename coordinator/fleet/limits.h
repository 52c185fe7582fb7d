// Time-outs of the fleet (RELIABILITY 8.8), in order: heartbeat < suspect < dead <= fence < lease.
#pragma once

#include <chrono>

#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::fleet {

struct Limits {
  std::chrono::nanoseconds heartbeat{}, suspect{}, dead{}, fence{}, first_heartbeat{}, lease{}, step{};
};

// Throws kInvalid naming the two that are in the wrong order.
Limits limits_of(const jobs::TimeoutSpec& spec);

}  // namespace trireme::coordinator::fleet

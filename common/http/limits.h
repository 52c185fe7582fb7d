// What a server grants its connections (RELIABILITY 5 and 8.8).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace trireme::http {

struct Limits {
  std::chrono::milliseconds header_deadline{5000}, body_deadline{10000}, idle_deadline{30000};
  std::chrono::milliseconds write_deadline{10000};
  std::uint32_t header_limit_bytes = 8192;
  std::uint64_t body_limit_bytes = 1U << 20;
  std::size_t most_connections = 64, most_connections_per_address = 16;
};

}  // namespace trireme::http

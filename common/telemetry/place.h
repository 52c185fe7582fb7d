// Where a process serves its metrics, and under which address discovery names it.
#pragma once

#include <string>

namespace trireme::telemetry {

struct MetricsPlace {
  std::string address = "127.0.0.1";  // bound
  int port = 0;                       // 0: a free one
  std::string advertised;  // host part of the target; "127.0.0.1" is reachable from this host alone
};

// `listen`: "ADDRESS" or "ADDRESS:PORT", "" for 127.0.0.1 and a free port; with a port every process of a
// host takes the next one, counted by `position`: 0 the coordinator, 1 … the workers. `advertise`: "" or
// "hostname", an address or name as it is, or a network "10.77.0.0/24" or interface "eth0" whose address this
// host has. Throws kUsage, naming the option, for what cannot be meant or is not there.
MetricsPlace metrics_place(const std::string& listen, const std::string& advertise, int position);

}  // namespace trireme::telemetry

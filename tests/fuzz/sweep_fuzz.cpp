// Any bytes as a sweep file: faults, or arms and a grid; an Error names what is wrong. Seeds:
// jobs/examples/sweep-*.json.
#include "common/base/error.h"
#include "coordinator/sweep/sweep_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme;
  coordinator::sweep::Sweep sweep;
  std::vector<jobs::SpecFault> faults;
  try {
    coordinator::sweep::read_sweep_file({reinterpret_cast<const char*>(data), size}, "/nowhere", sweep,
                                        faults);
  } catch (const Error&) {
  }
  return 0;
}

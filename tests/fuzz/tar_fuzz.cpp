// Any bytes as a tar: every member lies within the bytes, and nothing is found twice as large as it is.
// Seeds: the tars of tests/golden.
#include <cstdlib>

#include "jobs/store/tar_scan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::uint64_t found = 0;
  store::scan_tar(bytes, [&](const store::TarMember& member) {
    if (member.offset > size || member.size > size - member.offset) std::abort();
    found += member.size;
  });
  if (found > size) std::abort();
  return 0;
}

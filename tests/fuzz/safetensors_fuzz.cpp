// Any bytes as a safetensors file: what is accepted lies within the file, and is written the same again.
#include <cstdlib>

#include "common/base/error.h"
#include "jobs/store/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  try {
    auto header = store::read_safetensors_header(file, "a.safetensors");
    for (const auto& entry : header.entries)
      if (entry.begin > entry.end || header.data_begin + entry.end > size) std::abort();
    auto entries = header.entries;
    const std::string text = store::make_safetensors_header(entries, header.metadata);
    const auto again =
        store::read_safetensors_header(text + std::string(file.substr(header.data_begin)), "again");
    if (again.entries.size() != header.entries.size()) std::abort();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kDamaged && error.kind() != ErrorKind::kInvalid) std::abort();
  }
  return 0;
}

// libFuzzer target: whatever arrives, decode() returns or throws kDamaged. The checksum is repaired, so that
// the body is reached.
#include <cstdlib>
#include <cstring>
#include <string>

#include <xxhash.h>

#include "jobs/protocol/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  for (const bool repair : {false, true}) {
    if (repair && bytes.size() >= 36) {
      std::memcpy(bytes.data(), "TRMS\x01\0", 6);
      const auto length = static_cast<std::uint32_t>(bytes.size() - 36);
      std::memcpy(&bytes[24], &length, 4);
      const auto sum = XXH3_64bits_withSeed(bytes.data() + 36, length, XXH3_64bits(bytes.data(), 28));
      std::memcpy(&bytes[28], &sum, 8);
    }
    try {
      const jobs::Envelope envelope = jobs::decode(bytes);
      if (jobs::encode(jobs::decode(jobs::encode(envelope))) != jobs::encode(envelope)) std::abort();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDamaged) std::abort();
    }
  }
  return 0;
}

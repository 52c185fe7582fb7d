// Counter-based random numbers: every number is a pure function of its key and its counter, never of rank,
// thread or time (RELIABILITY 8.6). Philox4x32 with 10 rounds (Salmon et al., "Parallel Random Numbers: As
// Easy as 1, 2, 3", SC 2011).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace trireme {

using Philox4 = std::array<std::uint32_t, 4>;

// The raw generator; known-answer tested against Random123's vectors.
Philox4 philox4x32(Philox4 counter, std::array<std::uint32_t, 2> key);

// What a stream of numbers is for; keeps streams apart that share a seed.
enum class RandomPurpose : std::uint32_t {
  kShardOrder = 1,
  kSampleOrder,
  kAugment,
  kCaptionChoice,
  kDropout,
  kInitialWeights,
  kSynthetic,
  kSourceWeight,
  kTest,
  kProbeDraw,
};

// A stream keyed by (seed, purpose, a, b); draw i depends on nothing else. Cheap to make; not thread-safe.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, RandomPurpose purpose, std::uint64_t a = 0, std::uint32_t b = 0);
  std::uint32_t next_u32();
  std::uint64_t next_u64();
  double uniform();                          // [0, 1) with 53 bits
  double uniform(double low, double high);   // [low, high)
  std::uint64_t below(std::uint64_t bound);  // [0, bound) without modulo bias; bound >= 1
  double normal();                           // mean 0, variance 1 (Box–Muller)

 private:
  std::array<std::uint32_t, 2> key_;
  Philox4 counter_;
  Philox4 block_{};
  int used_ = 4;
};

// 64-bit mix of a name, to key a stream by a tensor's or a sample's name (FNV-1a, then a finaliser).
std::uint64_t name_key(std::string_view name);

}  // namespace trireme

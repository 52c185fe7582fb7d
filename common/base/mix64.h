// A permutation of 64-bit numbers whose every output bit depends on every input bit: the finish of splitmix64
// (Steele, Lea, Flood 2014; Stafford's variant 13).
#pragma once

#include <cstdint>

namespace trireme {

constexpr std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace trireme

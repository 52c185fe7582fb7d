// Vectors of 64 bytes and the functions the tile passes need on them, written once with GCC's vector
// extension and compiled for AVX-512, AVX2 and plain x86-64 by target_clones. A vector has as many lanes on
// every machine, so sums have one order. NaN stays NaN. Include only where -Wpsabi is off: everything is
// inlined.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#define TRIREME_LANES_INLINE inline __attribute__((always_inline))

namespace trireme::worker::kernels {

using Floats = float __attribute__((vector_size(64)));
using Doubles = double __attribute__((vector_size(64)));
using Ints = std::int32_t __attribute__((vector_size(64)));

template <class T>
struct LanesOf;
template <>
struct LanesOf<float> {
  using Vector = Floats;
  using Unaligned = float __attribute__((vector_size(64), aligned(4), may_alias));
};
template <>
struct LanesOf<double> {
  using Vector = Doubles;
  using Unaligned = double __attribute__((vector_size(64), aligned(8), may_alias));
};
template <class T>
using Vector = typename LanesOf<T>::Vector;
template <class T>
constexpr std::int64_t kLanes = 64 / static_cast<std::int64_t>(sizeof(T));

template <class T>
TRIREME_LANES_INLINE Vector<T> load(const T* from) {
  return *reinterpret_cast<const typename LanesOf<T>::Unaligned*>(from);
}
template <class T>
TRIREME_LANES_INLINE void store(T* to, Vector<T> value) {
  *reinterpret_cast<typename LanesOf<T>::Unaligned*>(to) = value;
}

// e^x to 2 ulp: 2^n times a polynomial on [-ln2/2, ln2/2]; 0 below the smallest normal number.
TRIREME_LANES_INLINE Floats exp(Floats x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const Floats least = Floats{} - 87.33654F, most = Floats{} + 88.37626F;
  const Floats bounded = x > most ? most : (x < least ? least : x);
  const Floats n = (bounded * 1.44269504F + kRound) - kRound;
  const Floats r = (bounded - n * 0.693359375F) - n * -2.12194440e-4F;
  Floats p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const Ints bits = (__builtin_convertvector(n, Ints) + 127) << 23;
  const Floats result = p * __builtin_bit_cast(Floats, bits);
  return x < least ? Floats{} : result;
}

TRIREME_LANES_INLINE Doubles exp(Doubles x) {
  Doubles result = x;
  for (int i = 0; i < 8; ++i) result[i] = std::exp(x[i]);
  return result;
}

// ln(1 + y) for y in [0, 1], as 2 artanh(y / (2 + y)).
TRIREME_LANES_INLINE Floats log1p(Floats y) {
  const Floats t = y / (y + 2.0F), q = t * t;
  Floats p = q * (1 / 13.0F) + 1 / 11.0F;
  p = p * q + 1 / 9.0F;
  p = p * q + 1 / 7.0F;
  p = p * q + 1 / 5.0F;
  p = p * q + 1 / 3.0F;
  return 2.0F * (p * q * t + t);
}

TRIREME_LANES_INLINE Doubles log1p(Doubles y) {
  Doubles result = y;
  for (int i = 0; i < 8; ++i) result[i] = std::log1p(y[i]);
  return result;
}

template <class V>
TRIREME_LANES_INLINE V magnitude(V x) {
  return x < 0 ? -x : x;
}

// ln(1 + e^x).
template <class V>
TRIREME_LANES_INLINE V softplus(V x) {
  return (x < 0 ? V{} : x) + log1p(exp(-magnitude(x)));
}

// 1 / (1 + e^-x).
template <class V>
TRIREME_LANES_INLINE V sigmoid(V x) {
  const V e = exp(-magnitude(x)), share = 1 / (1 + e);
  return x < 0 ? e * share : share;
}

// Lane by lane, in order; NaN is passed over.
template <class T, class V>
TRIREME_LANES_INLINE T largest(V x) {
  T most = -std::numeric_limits<T>::infinity();
  for (std::int64_t i = 0; i < kLanes<T>; ++i) most = x[i] > most ? x[i] : most;
  return most;
}
template <class T, class V>
TRIREME_LANES_INLINE T sum(V x) {
  for (std::int64_t half = kLanes<T> / 2; half > 0; half /= 2)
    for (std::int64_t i = 0; i < half; ++i) x[i] += x[i + half];
  return x[0];
}

}  // namespace trireme::worker::kernels

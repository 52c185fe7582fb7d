// Fixed-size numbers of binary files, little-endian as this machine has them. Any thread.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace trireme::io {

static_assert(std::endian::native == std::endian::little, "records are little-endian on disk");

template <class Number>
void put(std::string& out, Number value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// The caller has checked that the bytes are there.
template <class Number>
Number get(const std::uint8_t* at) {
  Number value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class Number>
Number get(std::string_view bytes, std::size_t at) {
  return get<Number>(reinterpret_cast<const std::uint8_t*>(bytes.data()) + at);
}

inline std::string_view view(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace trireme::io

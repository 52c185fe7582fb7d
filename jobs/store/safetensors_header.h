// The JSON header of a safetensors file, checked completely before any byte of data is believed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::store {

enum class Dtype { kF32, kF64, kF16, kBF16, kI64, kI32, kU8, kBool };
std::size_t bytes_of(Dtype dtype);  // of one number

struct TensorEntry {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // within the data that follows the header
};

struct SafetensorsHeader {
  std::vector<TensorEntry> entries;  // in order of their data
  std::map<std::string, std::string> metadata;
  std::uint64_t data_begin = 0;  // offset of the data in the file

  const TensorEntry* find(std::string_view name) const;  // nullptr when there is none
};

constexpr std::uint64_t kMostHeaderBytes = 100'000'000;

// `file` is the whole file, `path` names it in errors. Throws kDamaged for what cannot be a safetensors file
// (length, syntax, overlap, hole, wrong size), kInvalid for one that we do not read (unknown dtype).
SafetensorsHeader read_safetensors_header(std::string_view file, const std::string& path);

// 8-byte length and header text, padded with spaces so that the data begins at a multiple of 8. Offsets
// follow the order of `entries`; begin and end are filled in. Throws kInvalid on duplicate names.
std::string make_safetensors_header(std::vector<TensorEntry>& entries,
                                    const std::map<std::string, std::string>& metadata);

}  // namespace trireme::store

// xxh3 guards against accidents, SHA-256 identifies content. Hex is lower case.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/io/file.h"

namespace trireme::io {

std::uint64_t xxh3_64(std::string_view bytes);

struct Hash128 {
  std::uint64_t high = 0, low = 0;
  auto operator<=>(const Hash128&) const = default;
};
Hash128 xxh3_128(std::string_view bytes);

std::string hex(std::uint64_t value);            // 16 digits
std::string hex(const Hash128& value);           // 32 digits
std::uint64_t from_hex(std::string_view text);   // of hex(std::uint64_t); throws kDamaged
std::string sha256_hex(std::string_view bytes);  // 64 digits

// A folder as one value: all its regular files, sub-folders included. xxh3 is that of the sorted lines
// `name \0 bytes \0 xxh3 \n`, so that a changed byte anywhere shows.
struct FolderDigest {
  std::uint64_t bytes = 0, xxh3 = 0;
};
FolderDigest digest_of_folder(const Path& folder);

// Streamed in 1 MiB pieces.
std::uint64_t xxh3_of_file(const Path& path);

// xxh3-64 of bytes that come in pieces.
class Xxh3 {
 public:
  Xxh3();
  ~Xxh3();
  void update(std::string_view bytes);
  std::uint64_t finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(std::string_view bytes);
  std::string finish_hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme::io

#include "common/io/hash.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <vector>

#include <openssl/evp.h>
#include <xxhash.h>

#include "common/base/error.h"
#include "common/io/folder.h"

namespace trireme::io {
namespace {
template <class Consume>
void stream_file(const Path& path, Consume consume) {
  FileReader file(path);
  std::string piece(1 << 20, '\0');
  while (const std::size_t got = file.read(piece)) consume(std::string_view(piece).substr(0, got));
}
}  // namespace

std::uint64_t xxh3_64(std::string_view bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

Hash128 xxh3_128(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

std::string hex(std::uint64_t value) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}
std::string hex(const Hash128& value) {
  return hex(value.high) + hex(value.low);
}

std::uint64_t from_hex(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || text.size() > 16)
    throw Error(ErrorKind::kDamaged, "'" + std::string(text.substr(0, 40)) + "' is no hash");
  return value;
}

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};
Sha256::Sha256() : state_(std::make_unique<State>()) {
  EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr);
}
Sha256::~Sha256() = default;
void Sha256::update(std::string_view bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}
std::string Sha256::finish_hex() {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  EVP_DigestFinal_ex(state_->context, digest.data(), &size);
  std::string text;
  for (const unsigned char byte : digest) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish_hex();
}

struct Xxh3::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};
Xxh3::Xxh3() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(state_->xxh);
}
Xxh3::~Xxh3() = default;
void Xxh3::update(std::string_view bytes) {
  XXH3_64bits_update(state_->xxh, bytes.data(), bytes.size());
}
std::uint64_t Xxh3::finish() const {
  return XXH3_64bits_digest(state_->xxh);
}

std::uint64_t xxh3_of_file(const Path& path) {
  Xxh3 hash;
  stream_file(path, [&](std::string_view piece) { hash.update(piece); });
  return hash.finish();
}

FolderDigest digest_of_folder(const Path& folder) {
  FolderDigest digest;
  std::string listing;
  for (const auto& file : files_below(folder)) {
    const auto bytes = size_of(file);
    digest.bytes += bytes;
    listing += file.lexically_relative(folder).generic_string() + '\0' + std::to_string(bytes) + '\0' +
               hex(xxh3_of_file(file)) + '\n';
  }
  digest.xxh3 = xxh3_64(listing);
  return digest;
}

}  // namespace trireme::io

#include "common/http/token.h"

#include <algorithm>
#include <array>

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include "common/base/error.h"
#include "common/io/folder.h"

namespace trireme::http {
namespace {

std::array<unsigned char, SHA256_DIGEST_LENGTH> digest(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> out{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data());
  return out;
}

}  // namespace

std::string random_hex() {
  std::array<unsigned char, 32> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
    throw Error(ErrorKind::kInternal, "the system gave no random bytes for the token");
  std::string text;
  for (const unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::string read_or_make_token(const io::Path& file) {
  if (!io::exists(file)) {
    const std::string made = random_hex();
    io::write_file_atomic(file, made + "\n", true, 0600);
    return made;
  }
  if ((io::status_of(file).mode & 077) != 0)
    throw Error(ErrorKind::kInvalid, "the token file " + file.string() + " may be read by others",
                "chmod 600 it, or delete it to get a new token");
  std::string token = io::read_file(file, 4096);
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  const bool hex = std::all_of(token.begin(), token.end(),
                               [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (token.size() != 64 || !hex)
    throw Error(ErrorKind::kInvalid, "the token file " + file.string() + " does not hold 64 hex digits",
                "delete it to get a new token");
  return token;
}

bool same_token(std::string_view given, std::string_view expected) {
  const auto a = digest(given), b = digest(expected);  // equal lengths, whatever was sent
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace trireme::http

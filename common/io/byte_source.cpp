#include "common/io/byte_source.h"

#include <algorithm>

#include "common/base/error.h"

namespace trireme::io {
namespace {

// The map first, as the bytes that the base class reads.
struct HoldsMap {
  MappedFile map;
};
class MappedSource : private HoldsMap, public MemorySource {
 public:
  explicit MappedSource(const Path& path)
      : HoldsMap{MappedFile(path)}, MemorySource(map.text(), path.string()) {}
};

}  // namespace

std::string_view ByteSource::view(std::uint64_t offset, std::uint64_t bytes, std::string& storage) const {
  storage.resize(bytes);
  read(offset, storage);
  return storage;
}

void MemorySource::read(std::uint64_t offset, std::span<char> to) const {
  std::string unused;
  std::ranges::copy(view(offset, to.size(), unused), to.begin());
}

std::string_view MemorySource::view(std::uint64_t offset, std::uint64_t bytes, std::string&) const {
  if (offset > bytes_.size() || bytes > bytes_.size() - offset)
    throw Error(ErrorKind::kDamaged, name_ + " ends before byte " + std::to_string(offset + bytes));
  return bytes_.substr(offset, bytes);
}

std::unique_ptr<ByteSource> open_source(const Path& path) {
  return std::make_unique<MappedSource>(path);
}

}  // namespace trireme::io

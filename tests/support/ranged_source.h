// A source that has to be asked for every range, as an object store is; it counts. Header only.
#pragma once

#include <atomic>
#include <string>
#include <utility>

#include "common/io/byte_source.h"

namespace trireme::testing {

class RangedSource : public io::ByteSource {
 public:
  explicit RangedSource(std::string bytes) : bytes_(std::move(bytes)) {}
  std::string name() const override { return "ranged"; }
  std::uint64_t size() const override { return bytes_.size(); }
  void read(std::uint64_t offset, std::span<char> to) const override {
    bytes_.copy(to.data(), to.size(), offset);
    bytes_read += to.size();
  }

  mutable std::atomic<std::uint64_t> bytes_read{0};

 private:
  std::string bytes_;
};

}  // namespace trireme::testing

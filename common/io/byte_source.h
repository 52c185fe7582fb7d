// The bytes of one object that does not change, by ranges, so that a mapped file, memory and an object store
// read alike. Thread-safe after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/io/file.h"

namespace trireme::io {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual std::string name() const = 0;  // for errors
  virtual std::uint64_t size() const = 0;
  // Bytes [offset, offset + to.size()), which lie within size(). Throws Error naming the source when they
  // cannot be had.
  virtual void read(std::uint64_t offset, std::span<char> to) const = 0;
  // The same without a copy where the bytes lie in memory; else read into `storage`, which backs the view.
  virtual std::string_view view(std::uint64_t offset, std::uint64_t bytes, std::string& storage) const;
};

// A mapped file: view() copies nothing.
std::unique_ptr<ByteSource> open_source(const Path& path);

// Bytes that outlive the source.
class MemorySource : public ByteSource {
 public:
  MemorySource(std::string_view bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}
  std::string name() const override { return name_; }
  std::uint64_t size() const override { return bytes_.size(); }
  void read(std::uint64_t offset, std::span<char> to) const override;
  std::string_view view(std::uint64_t offset, std::uint64_t bytes, std::string& storage) const override;

 private:
  std::string_view bytes_;
  std::string name_;
};

}  // namespace trireme::io

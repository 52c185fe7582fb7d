// The safetensors file format: 8-byte little-endian header length, JSON header, data. Reading is
// memory-mapped and bounds-checked: header <= 100 MB, no overlaps, holes, duplicate names or unknown dtypes;
// kDamaged / kInvalid name file and tensor.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "common/io/file.h"

namespace trireme::worker::checkpoint {

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const io::Path& path);
  // A checkpoint that others wrote: one file, or the index ("….safetensors.index.json") of several in its
  // folder, which must hold what it says; names without their wrappers (wrapper_names.h).
  static SafetensorsFile of_checkpoint(const io::Path& path);
  // "" or a sentence about an averaged copy that was left out.
  const std::string& remark() const;
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  std::vector<std::string> names() const;  // in file order
  bool contains(const std::string& name) const;
  // A copy on the CPU, safe to keep. Throws kNotFound with the nearest name.
  at::Tensor load(const std::string& name) const;
  // The same into memory that is there: contiguous, on the CPU, of that dtype and shape (kInternal
  // otherwise). Read, not mapped, so that the file's pages are no memory of ours.
  void read_into(const std::string& name, at::Tensor& target) const;
  // A read-only view of the map; valid while this object lives.
  at::Tensor view(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const;

 private:
  struct State;
  explicit SafetensorsFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Writes tensors in the order given (contiguous, CPU); deterministic bytes. Written aside, synced and
// renamed.
void write_safetensors(const io::Path& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {}, bool durable = true);

}  // namespace trireme::worker::checkpoint

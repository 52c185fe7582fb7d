// A segment: the rows of one range of samples and what is known of each, in one immutable file that is mapped
// when it is read (a safetensors file; layout in jobs/protocol/FORMAT.md). Legend: n rows, D width.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::search {

struct Item {
  std::int64_t sample = 0;  // position in the shard
  std::string key, url;     // url: the address the picture came from, "" when the JSON names none
  std::vector<std::string> captions;
  std::string columns = "{}";  // JSON object: those of the chosen columns that the sample has
};

// `image_nD` float32, unit rows; kept as float16. `columns`: those that filters may name; numbers, booleans
// (0 and 1) and strings count, anything else is missing. Deterministic bytes.
void write_segment(const io::Path& path, const at::Tensor& image_nD, const std::vector<Item>& items,
                   const std::vector<std::string>& columns);

class Segment {
 public:
  // Throws kDamaged naming the file when its parts do not fit one another. Bytes are checked by whoever knows
  // their hash.
  explicit Segment(const io::Path& path);

  std::int64_t size() const { return image_nD_.size(0); }
  std::int64_t width() const { return image_nD_.size(1); }
  const at::Tensor& rows() const { return image_nD_; }  // float16 [n, D], a view of the map
  Item item(std::int64_t row) const;
  std::vector<std::string> columns() const;  // by name
  // NaN where the sample has no number; all NaN for a column that the segment does not have.
  double number(const std::string& column, std::int64_t row) const;
  // "" where the sample has no string.
  std::string_view text(const std::string& column, std::int64_t row) const;

 private:
  struct Strings {
    std::string_view bytes;
    const std::int64_t* end = nullptr;
    std::string_view at(std::int64_t row) const {
      const std::int64_t first = row == 0 ? 0 : end[row - 1];
      return bytes.substr(static_cast<std::size_t>(first), static_cast<std::size_t>(end[row] - first));
    }
  };
  Strings strings(const std::string& name) const;

  std::string name_;
  checkpoint::SafetensorsFile file_;
  at::Tensor image_nD_;
  const std::int64_t* sample_ = nullptr;
  Strings about_;
  std::map<std::string, const double*> numbers_;
  std::map<std::string, Strings> texts_;
};

}  // namespace trireme::worker::search

// What the samples of an evaluated set say of themselves beside caption and label: the group or item that a
// member of their .json names, and several labels at once, in the .json or in the .npy member of
// CLIP_benchmark's multi-label tars. Errors (kInvalid) name the sample and its shard.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::evaluate {

// Where a row of the embeddings comes from.
struct Place {
  std::int64_t shard = 0;  // manifest position
  std::int64_t sample = 0;
};
using Places = std::vector<Place>;

// The text of member `field` (a number as JSON writes it), one per place.
std::vector<std::string> fields_of(const runtime::OpenedTask& task, const std::string& data,
                                   const Places& places, const std::string& field);

// The elements of member `field`, a list of texts or numbers, one list per place.
std::vector<std::vector<std::string>> lists_of(const runtime::OpenedTask& task, const std::string& data,
                                               const Places& places, const std::string& field);

// Keys and captions of the samples, one per place.
std::vector<std::string> keys_of(const runtime::OpenedTask& task, const std::string& data,
                                 const Places& places);
std::vector<std::vector<std::string>> captions_of(const runtime::OpenedTask& task, const std::string& data,
                                                  const Places& places);

// Int64 [N]: member `field` is the class, by number from 0 or by name.
at::Tensor labels_of(const runtime::OpenedTask& task, const std::string& data, const Places& places,
                     const std::string& field, const std::vector<std::string>& classes);

// Bool [N, C]: `field` lists classes by number from 0 or by name; "": the .npy member, a vector of C numbers
// of which those over 0 are labels.
at::Tensor label_sets(const runtime::OpenedTask& task, const std::string& data, const Places& places,
                      const std::string& field, const std::vector<std::string>& classes);

// The numbers of a NumPy array of one dimension (version 1 to 3; integers, floats, bool; little-endian).
// Throws kDamaged naming `what`.
std::vector<double> npy_numbers(std::string_view bytes, const std::string& what);

}  // namespace trireme::worker::stages::evaluate

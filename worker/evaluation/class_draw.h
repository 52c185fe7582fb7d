// Draws of samples class by class: a pure function of (seed, labels), whatever the machine. Draws of one seed
// are nested: the one of k shots holds those of fewer.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::worker::evaluation {

struct Split {
  at::Tensor chosen, rest;  // int64 positions, ascending
};

// The first `shots` samples of every class in its keyed order, or all that it has.
Split draw_shots(const at::Tensor& label_N, std::int64_t classes, std::int64_t shots, std::uint64_t seed);

// A fifth of every class, rounded down but at least one where the class has two; `rest` is what remains.
Split hold_out_fifth(const at::Tensor& label_N, std::int64_t classes, std::uint64_t seed);

}  // namespace trireme::worker::evaluation

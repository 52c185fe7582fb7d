// The seam between training and the rules that turn a gradient into new weights.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/optim/parameter_groups.h"
#include "worker/optim/schedule.h"

namespace trireme::worker::optim {

using ForEach = std::function<void(std::int64_t n, const std::function<void(std::int64_t)>& body)>;

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // `gradients` in the order of the parameters, same shapes. Each parameter is updated by one thread, so the
  // bits do not depend on how many there are.
  virtual void step(const std::vector<at::Tensor>& gradients, const Rates& rates,
                    const ForEach& for_each) = 0;

  std::int64_t updates() const { return updates_; }
  // "exp_avg.<name>", "exp_avg_sq.<name>", then "updates" int64 [1]. The tensors share memory with this
  // object.
  NamedTensors state() const;
  // Copies; kDamaged lists missing names and wrong shapes.
  void load_state(const NamedTensors& state);

 protected:
  // First and second moments of every parameter, at first zero.
  Optimizer(const NamedTensors& parameters, const GroupOptions& groups);
  struct Slot {
    std::string name;
    at::Tensor parameter, mean, square;
    Treatment treatment;
  };
  std::vector<Slot> slots_;
  std::int64_t updates_ = 0;
};

// Copies each of `from` into the tensor of the same name; kDamaged lists missing names and wrong shapes.
// `what` begins the message.
void copy_state(const NamedTensors& into, const NamedTensors& from, const std::string& what);

struct OptimizerOptions {
  bool lamb = false;                    // else AdamW
  double beta2 = 0.98, epsilon = 1e-6;  // beta1 belongs to the schedule
  GroupOptions groups;
  std::optional<double> momentum = {};  // SGD instead of both
};

// Updates the given tensors in place; contiguous. Throws kInvalid on a group without parameters.
std::unique_ptr<Optimizer> make_optimizer(const NamedTensors& parameters, const OptimizerOptions& options);

}  // namespace trireme::worker::optim

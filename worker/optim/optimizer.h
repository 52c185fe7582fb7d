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
  // `taken`: float64 [] where the parameters are, 1 or 0; with 0 nothing changes, whatever the gradients
  // hold. updates() counts the step until not_taken() says what the device knew. Undefined: taken.
  void step(const std::vector<at::Tensor>& gradients, const Rates& rates, const ForEach& for_each,
            const at::Tensor& taken = {});
  void not_taken() { --updates_; }

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
  // The `updates_`-th update. What waits to be decided is undone with masked(), or by the operation itself.
  virtual void update(const std::vector<at::Tensor>& gradients, const Rates& rates,
                      const ForEach& for_each) = 0;
  // body() changes the slot; where `taken_` is 0 the slot is as it was.
  void masked(Slot& slot, const std::function<void()>& body) const;
  bool waits() const { return taken_.defined(); }
  std::vector<Slot> slots_;
  // Of a step that is decided on the device: its `taken`, and the updates up to it, float64 [].
  at::Tensor taken_, count_;
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

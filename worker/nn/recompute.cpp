#include "worker/nn/recompute.h"

#include <memory>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace trireme::worker::nn {
namespace {

struct Kept final : torch::CustomClassHolder {
  RecomputedBlock block;
  at::DeviceType device = at::kCPU;
  bool autocast = false;
  at::ScalarType dtype = at::kBFloat16;
};

// The cache of casts stays out of it: it would hand the casts of the first pass, which have no graph, to the
// second.
class AutocastAs {
 public:
  explicit AutocastAs(const Kept& kept)
      : device_(kept.device),
        was_(at::autocast::is_autocast_enabled(device_)),
        cached_(at::autocast::is_autocast_cache_enabled()),
        was_dtype_(at::autocast::get_autocast_dtype(device_)) {
    at::autocast::set_autocast_enabled(device_, kept.autocast);
    at::autocast::set_autocast_dtype(device_, kept.dtype);
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~AutocastAs() {
    at::autocast::set_autocast_enabled(device_, was_);
    at::autocast::set_autocast_dtype(device_, was_dtype_);
    at::autocast::set_autocast_cache_enabled(cached_);
  }
  AutocastAs(const AutocastAs&) = delete;
  AutocastAs& operator=(const AutocastAs&) = delete;

 private:
  at::DeviceType device_;
  bool was_, cached_;
  at::ScalarType was_dtype_;
};

// Inputs: x, then the parameters, so that autograd asks for their gradients here.
struct Recompute : torch::autograd::Function<Recompute> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::TensorList inputs,
                            const c10::intrusive_ptr<Kept>& kept) {
    context->saved_data["kept"] = c10::IValue::make_capsule(kept);
    context->save_for_backward({inputs.begin(), inputs.end()});
    const at::NoGradGuard no_grad;
    const AutocastAs autocast(*kept);
    return kept->block(inputs.front(), false);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto kept = c10::static_intrusive_pointer_cast<Kept>(context->saved_data["kept"].toCapsule());
    const auto inputs = context->get_saved_variables();
    const at::AutoGradMode with_gradients(true);
    const AutocastAs autocast(*kept);
    std::vector<at::Tensor> wanted;
    std::vector<std::size_t> places;
    const at::Tensor x = inputs.front().detach().set_requires_grad(inputs.front().requires_grad());
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].requires_grad()) {
        wanted.push_back(i == 0 ? x : inputs[i]);
        places.push_back(i);
      }
    const at::Tensor y = kept->block(x, true);
    const auto found = torch::autograd::grad({y}, wanted, {gradients.front()}, /*retain_graph=*/false,
                                             /*create_graph=*/false, /*allow_unused=*/true);
    torch::autograd::variable_list result(inputs.size() + 1);
    for (std::size_t i = 0; i < places.size(); ++i) result[places[i]] = found[i];
    return result;
  }
};

}  // namespace

at::Tensor recompute(const RecomputedBlock& block, const at::Tensor& x,
                     const std::vector<at::Tensor>& parameters) {
  if (!at::GradMode::is_enabled()) return block(x, false);
  auto kept = c10::make_intrusive<Kept>();
  kept->block = block;
  kept->device = x.device().type();
  kept->autocast = at::autocast::is_autocast_enabled(kept->device);
  kept->dtype = at::autocast::get_autocast_dtype(kept->device);
  std::vector<at::Tensor> inputs{x};
  inputs.insert(inputs.end(), parameters.begin(), parameters.end());
  return Recompute::apply(at::TensorList(inputs), kept);
}

}  // namespace trireme::worker::nn

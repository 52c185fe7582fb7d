#include "worker/kernels/few_rows.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/autocast_mode.h>

#include <algorithm>
#include <atomic>
#include <functional>

#include "worker/kernels/row_products.h"

namespace trireme::worker::kernels {
namespace {

constexpr std::int64_t kVector = 16;   // floats
constexpr std::int64_t kOutputs = 96;  // of one item of work
constexpr std::int64_t kMostQueries = 48, kQueryStep = 12;

bool has_the_registers() {
  static const bool has = __builtin_cpu_supports("avx512f") > 0;
  return has;
}

bool plain(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.size(-1) % kVector == 0 && x.numel() > 0 &&
         !(at::GradMode::is_enabled() && x.requires_grad());
}

bool applies(const at::Tensor& a, const at::Tensor& b) {
  return has_the_registers() && plain(a) && plain(b) && !at::autocast::is_autocast_enabled(at::kCPU);
}

std::int64_t threads_for(std::int64_t items) {
  return std::min<std::int64_t>(items, at::in_parallel_region() ? 1 : at::get_num_threads());
}

// body(item, thread) once for every item, each thread taking the next one that is left. The threads are
// torch's own, which wait in a spin: a pool beside them would share its cores with that.
void share(std::int64_t items, const std::function<void(std::int64_t, std::int64_t)>& body) {
  std::atomic<std::int64_t> next{0};
  const auto work = [&](std::int64_t thread) {
    for (std::int64_t item = next++; item < items; item = next++) body(item, thread);
  };
  const std::int64_t threads = threads_for(items);
  if (threads <= 1) return work(0);
  at::Tensor places = at::empty({threads}, at::kByte);
  char* const first = static_cast<char*>(places.data_ptr());
  auto iterator =
      at::TensorIteratorConfig().check_all_same_dtype(false).resize_outputs(false).add_output(places).build();
  iterator.for_each(
      [&](char** data, const std::int64_t*, std::int64_t, std::int64_t) { work(data[0] - first); }, 1);
}

}  // namespace

at::Tensor linear_of_few(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const std::int64_t width = weight.size(1), rows = x.numel() / std::max<std::int64_t>(width, 1);
  if (rows > kFewRows || !applies(x, weight)) return at::linear(x, weight, bias);
  const at::Tensor x_RK = x.contiguous(), w = weight.contiguous(), b = bias.contiguous();
  auto sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  at::Tensor y = at::empty(sizes, x.options());
  const RowProducts products{x_RK.const_data_ptr<float>(),
                             w.const_data_ptr<float>(),
                             b.const_data_ptr<float>(),
                             y.data_ptr<float>(),
                             rows,
                             weight.size(0),
                             width};
  share((products.outputs + kOutputs - 1) / kOutputs, [&](std::int64_t item, std::int64_t) {
    row_products(products, item * kOutputs, std::min(products.outputs, (item + 1) * kOutputs));
  });
  return y;
}

at::Tensor attend_tokens(const at::Tensor& query_NQT, const at::Tensor& token_NST) {
  if (!applies(query_NQT, token_NST))
    return at::bmm(at::bmm(query_NQT, token_NST.transpose(1, 2)).softmax(2), token_NST);
  const at::Tensor query = query_NQT.contiguous(), token = token_NST.contiguous();
  at::Tensor mixed = at::empty_like(query);
  const std::int64_t images = query.size(0), queries = query.size(1), width = query.size(2);
  const std::int64_t fair = images * queries / at::get_num_threads() / kQueryStep * kQueryStep;
  const std::int64_t part = std::clamp(fair, kQueryStep, kMostQueries), parts = (queries + part - 1) / part;
  const std::int64_t room_size = attention_room(part, width);
  at::Tensor room = at::empty({threads_for(images * parts), room_size}, query.options());
  share(images * parts, [&](std::int64_t item, std::int64_t thread) {
    const std::int64_t image = item / parts, first = item % parts * part;
    const std::int64_t at = (image * queries + first) * width;
    kernels::attend_tokens(
        {query.const_data_ptr<float>() + at, token.const_data_ptr<float>() + image * token.size(1) * width,
         mixed.data_ptr<float>() + at, std::min(part, queries - first), token.size(1), width},
        room.data_ptr<float>() + thread * room_size);
  });
  return mixed;
}

}  // namespace trireme::worker::kernels

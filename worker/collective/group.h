// Collectives over tensors among the members of a gang. Backends: local/ (threads), mpi/ (non-blocking host
// tensors, polled with a deadline), stream/ (device tensors on streams: nccl/ in the CUDA plug-in), staged
// (device tensors through the host). One thread per rank drives a group; every
// rank calls the same operations in the same order. A peer that does not come within the deadline, or a stop
// request, throws kTryAgain / kCancelled naming operation and rank; after a throw the group is unusable.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::collective {

// A tensor to or from a peer; contiguous, its size the same on both sides.
struct Parcel {
  int peer = 0;
  at::Tensor tensor;
};

// Transfers under way. Destroyed before wait() returned, the group is unusable.
class Flight {
 public:
  virtual ~Flight() = default;
  virtual bool poll() = 0;  // moves them on; true when all have arrived
  virtual void wait() = 0;
};

class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const char* backend() const = 0;  // "local", "mpi", "nccl"

  // All tensors are contiguous, of equal shape and dtype on every rank (float32, float64, bfloat16, int64,
  // uint8).

  // [n, …] on each rank -> [size * n, …], rank order.
  virtual at::Tensor all_gather(const at::Tensor& local) = 0;

  // Element-wise sum, in place. The order of additions is fixed for a given size(), not across sizes.
  virtual void all_reduce_sum(at::Tensor& tensor) = 0;

  // [size * n, …] on each rank -> [n, …]: the sum over ranks of this rank's part.
  virtual at::Tensor reduce_scatter_sum(const at::Tensor& full) = 0;

  virtual void broadcast(at::Tensor& tensor, int root) = 0;

  // Sends `out` to and receives into `in` from `peer` (they may differ in shape; sizes must match the
  // peer's).
  virtual void exchange(int peer, const at::Tensor& out, at::Tensor& in) = 0;

  // Begins to send and receive, so that the caller can compute meanwhile; parcels between two ranks arrive in
  // the order of the lists. `operation` names it in errors. Tensors must not be written before wait()
  // returns.
  virtual std::unique_ptr<Flight> start(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives,
                                        const char* operation) = 0;

  virtual void barrier() = 0;

  // Whether tensors may lie on a GPU; else all must be on the host.
  virtual bool takes_device_tensors() const { return false; }
  // Whether all_reduce_sum() is the library's own, in an order of additions of its choice: the fastest sum,
  // where nobody was promised bits.
  virtual bool sums_natively() const { return false; }
  // Operations on device tensors may return before they are done. Once a number that comes of them has been
  // read on the host, this says, without waiting, whether they went well: it throws what has failed since.
  virtual void confirm() {}
};

struct GroupOptions {
  std::chrono::milliseconds deadline{60000};  // per operation
  std::function<bool()> stopped;              // polled while waiting
};

}  // namespace trireme::worker::collective

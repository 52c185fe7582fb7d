// What a group over a GPU's streams (stream_group.h) needs of CUDA and NCCL. nccl/nccl_calls.cpp in the CUDA
// plug-in does it; tests record it. Nothing here waits for the device.
#pragma once

#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

namespace trireme::worker::collective {

class StreamCalls {
 public:
  using Mark = std::shared_ptr<void>;  // a point on a stream (an event)

  virtual ~StreamCalls() = default;
  virtual const char* name() const = 0;                // "nccl"
  virtual std::string describe() const { return ""; }  // version and network, for the log
  virtual bool on_device(const at::Tensor& tensor) const = 0;

  // -- the thread that drives the group; open() … close() frame one operation --
  // The communicator's stream goes on behind all that the caller's stream has got so far; the mark of that.
  virtual Mark open() = 0;
  virtual void send(const at::Tensor& tensor, int peer) = 0;
  virtual void receive(const at::Tensor& tensor, int peer) = 0;
  virtual void all_gather(const at::Tensor& local, const at::Tensor& gathered) = 0;
  virtual void reduce_scatter_sum(const at::Tensor& full, const at::Tensor& part) = 0;
  virtual void all_reduce_sum(const at::Tensor& tensor) = 0;
  virtual void broadcast(const at::Tensor& tensor, int root) = 0;
  virtual void close() = 0;  // hands them over
  // Whether the communicator has taken what was handed over (at first it connects); only then mark() is
  // behind it. Throws what has gone wrong.
  virtual bool taken() = 0;
  virtual Mark mark() = 0;                    // of the communicator's stream
  virtual void follow(const Mark& mark) = 0;  // the caller's stream goes on behind the mark

  // -- also a watching thread, never beside any other call --
  virtual bool passed(const Mark& mark) = 0;  // throws what the device says of itself
  // Ends what is under way on the device, on this rank; only the destructor may follow.
  virtual void abort() = 0;
  // The same in peace, when all is done: peers may still be receiving.
  virtual void finish() = 0;
};

}  // namespace trireme::worker::collective

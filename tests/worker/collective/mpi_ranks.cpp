// The suite of group_suite.h over MPI, and with `--nccl PLUGIN` over NCCL, one GPU per rank: started by
// mpi_group_test and nccl_group_test under mpirun. Prints one line per fault.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <mpi.h>

#include <cstdio>
#include <numeric>
#include <string>

#include "common/base/error.h"
#include "tests/worker/collective/support/group_suite.h"
#include "worker/collective/cuda_plugin.h"
#include "worker/collective/gang_group.h"
#include "worker/collective/mpi/mpi_group.h"

namespace {
using namespace trireme;
using namespace trireme::worker::collective;

int run_checks(Group& group) {
  int faults = 0;
  for (const auto& [name, check] : group_checks()) {
    const auto fault = check(group);
    if (fault.empty()) continue;
    ++faults;
    std::printf("FAULT rank %d of %d, %s: %s\n", group.rank(), group.size(), name.c_str(), fault.c_str());
  }
  return faults;
}

// A gang whose last member stays away: the others must give up, and the next gang must not see its mail.
int deadline_is_kept(int rank, const std::vector<int>& members) {
  auto group = make_mpi_group(MPI_COMM_WORLD, members, 7, {.deadline = std::chrono::milliseconds(100)});
  if (rank == members.back()) return 0;
  try {
    static_cast<void>(group->all_gather(at::full({4}, 99.0F)));
  } catch (const Error& error) {
    return error.kind() == ErrorKind::kTryAgain ? 0 : 1;
  }
  std::printf("FAULT rank %d: no deadline\n", rank);
  return 1;
}

// The suite's tensors lie on the host; here each operation sees them on the GPU.
class OnDevice final : public Group {
 public:
  OnDevice(Group& group, const std::string& device) : group_(group), device_(device) {}
  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }
  const char* backend() const override { return group_.backend(); }
  bool sums_natively() const override { return group_.sums_natively(); }
  void barrier() override { group_.barrier(); }
  at::Tensor all_gather(const at::Tensor& local) override {
    return back(group_.all_gather(local.to(device_)));
  }
  at::Tensor reduce_scatter_sum(const at::Tensor& full) override {
    return back(group_.reduce_scatter_sum(full.to(device_)));
  }
  void all_reduce_sum(at::Tensor& tensor) override {
    at::Tensor there = tensor.to(device_);
    group_.all_reduce_sum(there);
    tensor.copy_(back(there));
  }
  void broadcast(at::Tensor& tensor, int root) override {
    at::Tensor there = tensor.to(device_);
    group_.broadcast(there, root);
    tensor.copy_(back(there));
  }
  void exchange(int peer, const at::Tensor& out, at::Tensor& in) override {
    at::Tensor there = in.to(device_);
    group_.exchange(peer, out.to(device_), there);
    in.copy_(back(there));
  }
  std::unique_ptr<Flight> start(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives,
                                const char* operation) override {
    std::vector<Parcel> out, in;
    for (const auto& [peer, tensor] : sends) out.push_back({peer, tensor.to(device_)});
    for (const auto& [peer, tensor] : receives) in.push_back({peer, tensor.to(device_)});
    auto flight = group_.start(out, in, operation);
    return std::make_unique<Landing>(std::move(flight), receives, in);
  }

 private:
  class Landing final : public Flight {
   public:
    Landing(std::unique_ptr<Flight> flight, std::vector<Parcel> wanted, std::vector<Parcel> there)
        : flight_(std::move(flight)), wanted_(std::move(wanted)), there_(std::move(there)) {}
    bool poll() override { return flight_->poll(); }
    void wait() override {
      flight_->wait();
      for (std::size_t i = 0; i < wanted_.size(); ++i) wanted_[i].tensor.copy_(there_[i].tensor);
    }

   private:
    std::unique_ptr<Flight> flight_;
    std::vector<Parcel> wanted_, there_;
  };
  at::Tensor back(const at::Tensor& there) {
    const at::Tensor here = there.cpu();
    group_.confirm();
    return here;
  }
  Group& group_;
  at::Device device_;
};

int run_over_nccl(const std::string& path, int rank, const std::vector<int>& members) {
  ::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
  const CudaPlugin plugin(path);
  const NcclFactory nccl{
      [&] { return plugin.nccl_unique_id(); },
      [&](const std::string& id, int at, int size, int gpu) { return plugin.nccl_calls(id, at, size, gpu); }};
  std::string chosen;
  const auto device = "cuda:" + std::to_string(rank);
  const auto group =
      make_gang_group(make_mpi_group(MPI_COMM_WORLD, members, 3), device, "this host", nccl, {}, chosen);
  if (std::string(group->backend()) == "nccl") {
    OnDevice there(*group, device);
    return run_checks(*group) + run_checks(there);
  }
  std::printf("FAULT rank %d: %s\n", rank, chosen.c_str());
  return 1;
}

int run_over_mpi(int rank, const std::vector<int>& everybody) {
  int faults = deadline_is_kept(rank, everybody);
  faults += run_checks(*make_mpi_group(MPI_COMM_WORLD, everybody, 1));
  const std::vector<int> reversed(everybody.rbegin(), everybody.rend() - 1);  // without rank 0
  if (rank != 0) faults += run_checks(*make_mpi_group(MPI_COMM_WORLD, reversed, 2));
  return faults;
}
}  // namespace

int main(int argc, char** argv) {
  int provided = 0, rank = 0, size = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  at::set_num_threads(1);
  std::vector<int> everybody(static_cast<std::size_t>(size));
  std::iota(everybody.begin(), everybody.end(), 0);
  const bool nccl = argc == 3 && std::string(argv[1]) == "--nccl";
  const int faults = nccl ? run_over_nccl(argv[2], rank, everybody) : run_over_mpi(rank, everybody);
  std::printf("rank %d: %d faults\n", rank, faults);
  std::fflush(stdout);
  MPI_Finalize();
  return faults == 0 ? 0 : 1;
}

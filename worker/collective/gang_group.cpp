#include "worker/collective/gang_group.h"

#include <ATen/ATen.h>

#include <cstring>
#include <set>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "worker/collective/staged_group.h"
#include "worker/collective/stream/stream_group.h"

namespace trireme::worker::collective {
namespace {

constexpr std::string_view kCuda = "cuda:";

int gpu_number(const std::string& device) {
  return device.rfind(kCuda, 0) == 0 ? std::stoi(device.substr(kCuda.size())) : -1;
}

// FNV-1a: two machines of one gang with the same hash would only cost the faster backend.
std::int64_t machine_key(const std::string& machine) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const unsigned char c : machine) hash = (hash ^ c) * 1099511628211ULL;
  return static_cast<std::int64_t>(hash >> 1);
}

// Why not every member can use NCCL; "" when all can. `offers_W3`: able, GPU, machine of each rank.
std::string obstacle(const at::Tensor& offers_W3) {
  std::set<std::pair<std::int64_t, std::int64_t>> taken;
  const auto offers = offers_W3.accessor<std::int64_t, 2>();
  for (std::int64_t r = 0; r < offers.size(0); ++r) {
    if (offers[r][1] < 0) return "rank " + std::to_string(r) + " has no GPU";
    if (offers[r][0] == 0) return "rank " + std::to_string(r) + " has no CUDA plug-in";
    if (!taken.emplace(offers[r][2], offers[r][1]).second)
      return "rank " + std::to_string(r) + " shares GPU " + std::to_string(offers[r][1]) +
             " with another rank";
  }
  return "";
}

std::string id_from_first(Group& host, const NcclFactory& nccl) {
  // A failure of rank 0 travels in place of the id, so that nobody waits for a group that never comes.
  std::string id, failure;
  if (host.rank() == 0) {
    try {
      id = nccl.unique_id();
    } catch (const Error& error) {
      failure = error.what();
    }
  }
  at::Tensor length = at::full({1}, static_cast<std::int64_t>(id.size()), at::kLong);
  host.broadcast(length, 0);
  if (length.item<std::int64_t>() == 0)
    throw Error(ErrorKind::kUnavailable,
                "rank 0 could not make an NCCL id" + (failure.empty() ? "" : ": " + failure));
  at::Tensor bytes = at::zeros({length.item<std::int64_t>()}, at::kByte);
  if (host.rank() == 0) std::memcpy(bytes.data_ptr(), id.data(), id.size());
  host.broadcast(bytes, 0);
  return {static_cast<const char*>(bytes.data_ptr()), static_cast<std::size_t>(bytes.numel())};
}

// Null where some rank has no NCCL; `why` then says which, and its reason where it is this one.
std::unique_ptr<StreamCalls> connected(Group& host, const NcclFactory& nccl, int gpu,
                                       const GroupOptions& options, std::string& why) {
  std::unique_ptr<StreamCalls> calls;
  std::string own;
  try {
    calls = nccl.calls(id_from_first(host, nccl), host.rank(), host.size(), gpu);
    connect(*calls, options);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) throw;
    own = error.what();
  }
  const at::Tensor failed = host.all_gather(at::full({1}, own.empty() ? 0 : 1, at::kLong));
  const auto first = failed.argmax().item<std::int64_t>();
  if (failed[first].item<std::int64_t>() == 0) return calls;
  why = "NCCL does not start on rank " + std::to_string(first) + (own.empty() ? "" : ", here: " + own);
  return nullptr;
}

std::unique_ptr<Group> through_host(std::unique_ptr<Group> host, bool gpu, const std::string& why,
                                    std::string& chosen) {
  chosen = std::string(host->backend()) + (gpu ? ", through the host: " : ": ") + why;
  return gpu ? make_staged_group(std::move(host)) : std::move(host);
}

}  // namespace

std::unique_ptr<Group> make_gang_group(std::unique_ptr<Group> host, const std::string& device,
                                       const std::string& machine, const NcclFactory& nccl,
                                       const GroupOptions& options, std::string& chosen) {
  const int gpu = gpu_number(device);
  const at::Tensor offer = at::empty({1, 3}, at::kLong);
  offer.select(1, 0).fill_(nccl.calls ? 1 : 0);
  offer.select(1, 1).fill_(gpu);
  offer.select(1, 2).fill_(machine_key(machine));
  std::string why = obstacle(host->all_gather(offer));
  if (!why.empty()) return through_host(std::move(host), gpu >= 0, why, chosen);
  auto calls = connected(*host, nccl, gpu, options, why);
  if (calls == nullptr) return through_host(std::move(host), true, why, chosen);
  chosen = calls->describe() + " over " + std::to_string(host->size()) + " GPUs";
  return make_stream_group(std::move(host), std::move(calls), options);
}

}  // namespace trireme::worker::collective

// Time and memory of the contrastive family.
//   loss_bench time [rows] [width] [threads] [rounds]     one rank; prints seconds per member, forward +
//   backward loss_bench once <member> [rows] [width] [threads]     one timed call after a warm-up, "seconds
//   cpu_seconds" loss_bench memory <member> [ranks] [rows] [width]     peak growth of one process that plays
//   one rank of a gang
//                                                         of `ranks`, the others' tiles made up as they come
//   mpirun -n W loss_bench mpi <member> [rows] [width]    all ranks; prints the exposed share of
//   communication
// tests/bench/loss_peer.py runs `once` and open_clip's ClipLoss in turn.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <mpi.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "worker/collective/local/local_group.h"
#include "worker/collective/mpi/mpi_group.h"
#include "worker/losses/alip_gates.h"
#include "worker/losses/contrastive.h"
#include "worker/stages/train/step/slot_pool.h"

namespace {
using namespace trireme::worker;
using losses::ContrastiveOptions;

struct Member {
  std::string name;
  ContrastiveOptions options;
  int texts = 1;
  bool gates = false, labels = false;
};

const std::vector<Member>& members() {
  static const std::vector<Member> all{{"info_nce", {}},
                                       {"smoothed", {.smoothing = 0.1}},
                                       {"hn_nce", {.alpha = 0.999, .beta = 0.5}},
                                       {"hn_nce_detached", {.beta = 0.25, .detach_weights = true}},
                                       {"quarter_negatives", {.negative_fraction = 0.25}},
                                       {"unicl", {}, 1, false, true},
                                       {"sigmoid", {.kind = losses::ContrastiveKind::kSigmoid}},
                                       {"alip", {}, 2, true},
                                       {"alip_hn_smoothed", {.smoothing = 0.1, .beta = 0.25}, 2, true}};
  return all;
}

const Member& member_of(const std::string& name) {
  for (const auto& member : members())
    if (member.name == name) return member;
  std::fprintf(stderr, "no member %s\n", name.c_str());
  std::exit(2);
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Pages of the process right now, and the most since reset_peak().
double status_megabytes(const char* field) {
  std::FILE* file = std::fopen("/proc/self/status", "r");
  char line[256];
  double kilobytes = 0;
  while (file != nullptr && std::fgets(line, sizeof line, file) != nullptr)
    if (std::string(line).rfind(field, 0) == 0) kilobytes = std::atof(line + std::string(field).size());
  if (file != nullptr) std::fclose(file);
  return kilobytes / 1024;
}
void reset_peak() {
  if (std::FILE* file = std::fopen("/proc/self/clear_refs", "w")) {
    std::fputs("5", file);
    std::fclose(file);
  }
}

std::vector<losses::SlotEmbeddings> slots_of(const Member& member, std::int64_t rows, std::int64_t width,
                                             std::int64_t slots, std::uint64_t seed) {
  at::manual_seed(seed);
  const auto unit = [&] {
    const at::Tensor x = at::randn({rows, width});
    return x / x.norm(2, {1}, true);
  };
  std::vector<losses::SlotEmbeddings> result;
  for (std::int64_t s = 0; s < slots; ++s) {
    losses::SlotEmbeddings slot{.image_bD = unit(), .live_b = at::ones({rows}, at::kByte)};
    for (int p = 0; p < member.texts; ++p) slot.text_bD.push_back(unit());
    if (member.labels) slot.label_b = at::randint(0, 1000, {rows}, at::kLong);
    result.push_back(std::move(slot));
  }
  return result;
}

losses::ContrastiveResult step(std::vector<losses::SlotEmbeddings>& own, std::int64_t slots,
                               const Member& member, collective::Group& group,
                               stages::train::SlotPool& pool) {
  if (member.gates) {
    const auto gates = losses::alip_gates(own, slots, {}, {}, group);
    for (std::size_t i = 0; i < own.size(); ++i) own[i].weight_b = gates.weight_b[i];
  }
  return losses::contrastive(
      own, slots, {.scale = 1 / 0.07}, member.options, group,
      [&](std::int64_t n, const std::function<void(std::int64_t)>& body) { pool.for_each(n, body); });
}

struct Took {
  double wall, cpu;
};
Took timed(const Member& member, std::int64_t rows, std::int64_t width, int threads, int calls) {
  const auto group = collective::make_local_groups(1);
  stages::train::SlotPool pool(threads, 1, {});
  auto own = slots_of(member, rows / 8, width, 8, 1);
  step(own, 8, member, *group[0], pool);
  Took best{1e30, 1e30};
  for (int i = 0; i < calls; ++i) {
    const double wall = now(), cpu = cpu_seconds();
    step(own, 8, member, *group[0], pool);
    best = {std::min(best.wall, now() - wall), std::min(best.cpu, cpu_seconds() - cpu)};
  }
  return best;
}

void compare_members(std::int64_t rows, std::int64_t width, int threads, int rounds) {
  std::map<std::string, std::vector<double>> cpu;
  for (int round = 0; round < rounds; ++round)
    for (const auto& member : members())
      cpu[member.name].push_back(timed(member, rows, width, threads, 1).cpu);
  const auto median = [](std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  };
  const double reference = median(cpu["info_nce"]);
  for (const auto& member : members()) {
    const double one = median(cpu[member.name]);
    std::printf("%-18s %7.3f s of processor time, %5.2f x InfoNCE per pair\n", member.name.c_str(), one,
                one / member.texts / reference);
  }
}

// Peers that exist only as their messages: what they would send is made when it is asked for, so the growth
// of this process is what one rank needs.
class LonelyGroup final : public collective::Group {
 public:
  explicit LonelyGroup(int size) : size_(size) {}
  int rank() const override { return 0; }
  int size() const override { return size_; }
  const char* backend() const override { return "lonely"; }
  at::Tensor all_gather(const at::Tensor& local) override {
    return at::cat(std::vector<at::Tensor>(static_cast<std::size_t>(size_), local));
  }
  void all_reduce_sum(at::Tensor&) override {}
  at::Tensor reduce_scatter_sum(const at::Tensor& full) override {
    return full.narrow(0, 0, full.size(0) / size_);
  }
  void broadcast(at::Tensor&, int) override {}
  void exchange(int, const at::Tensor& out, at::Tensor& in) override { in.copy_(out); }
  std::unique_ptr<collective::Flight> start(const std::vector<collective::Parcel>& sends,
                                            const std::vector<collective::Parcel>& receives,
                                            const char*) override {
    for (std::size_t i = 0; i < receives.size(); ++i) receives[i].tensor.copy_(sends[i].tensor);
    struct Landed final : collective::Flight {
      bool poll() override { return true; }
      void wait() override {}
    };
    return std::make_unique<Landed>();
  }
  void barrier() override {}

 private:
  int size_;
};

void memory(const Member& member, int ranks, std::int64_t rows, std::int64_t width) {
  stages::train::SlotPool pool(2, 1, {});
  LonelyGroup group(ranks);
  auto warm = slots_of(member, 64, width, 1, 1);
  step(warm, ranks, member, group, pool);
  auto own = slots_of(member, rows / ranks, width, 1, 1);
  const double before = status_megabytes("VmRSS:");
  reset_peak();
  const auto result = step(own, ranks, member, group, pool);
  std::printf(
      "%-18s %lld of %lld rows x %lld: %.1f MB beside the embeddings, gradients included (%d pairs; loss "
      "%.4f)\n",
      member.name.c_str(), static_cast<long long>(rows / ranks), static_cast<long long>(rows),
      static_cast<long long>(width), status_megabytes("VmHWM:") - before, member.texts, result.loss);
}

void over_mpi(const Member& member, std::int64_t rows, std::int64_t width) {
  int rank = 0, size = 0, provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  {
    std::vector<int> everybody(static_cast<std::size_t>(size));
    std::iota(everybody.begin(), everybody.end(), 0);
    const auto group = collective::make_mpi_group(MPI_COMM_WORLD, everybody, 1);
    stages::train::SlotPool pool(1, 1, {});
    auto own = slots_of(member, rows / size, width, 1, static_cast<std::uint64_t>(rank));
    step(own, size, member, *group, pool);
    const double begin = now();
    const auto result = step(own, size, member, *group, pool);
    const double took = now() - begin;
    std::printf("rank %d of %d, %s: %.3f s, waited %.3f s for tiles (%.1f %%)\n", rank, size,
                member.name.c_str(), took, result.waited_seconds, 100 * result.waited_seconds / took);
  }
  MPI_Finalize();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "time";
  const auto number = [&](int at, std::int64_t otherwise) {
    return argc > at ? static_cast<std::int64_t>(std::atoll(argv[at])) : otherwise;
  };
  if (mode == "time") {
    compare_members(number(2, 8192), number(3, 512), static_cast<int>(number(4, 2)),
                    static_cast<int>(number(5, 3)));
    return 0;
  }
  const auto& member = member_of(argc > 2 ? argv[2] : "info_nce");
  if (mode == "once") {
    const auto took = timed(member, number(3, 8192), number(4, 512), static_cast<int>(number(5, 2)), 1);
    std::printf("%.4f %.4f\n", took.wall, took.cpu);
  } else if (mode == "memory") {
    memory(member, static_cast<int>(number(3, 8)), number(4, 32768), number(5, 512));
  } else {
    over_mpi(member, number(3, 4096), number(4, 512));
  }
}

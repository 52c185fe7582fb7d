// The linear probe on features that lie in a file: time, memory and objective of one fit.
//   probe_bench FEATURES LABELS N D K C [workers] [threads of each]
// FEATURES: float32 [N, D], LABELS: int64 [N], both as they lie in memory. Prints one line of JSON.
// tests/bench/probe_peer.py makes them and runs this and scikit-learn in turn.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "worker/evaluation/linear_probe.h"

namespace {
using namespace trireme::worker;

double resident_mib() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_maxrss) / 1024;
}

at::Tensor read(const char* path, at::IntArrayRef sizes, at::ScalarType type) {
  at::Tensor made = at::empty(sizes, type);
  std::ifstream(path, std::ios::binary)
      .read(static_cast<char*>(made.data_ptr()), static_cast<std::streamsize>(made.nbytes()));
  return made;
}

// Workers of one process that meet at every sum.
class Meeting {
 public:
  explicit Meeting(std::size_t workers) : parts_(workers) {}
  void sum(std::size_t rank, at::Tensor& own) {
    std::unique_lock lock(mutex_);
    const long turn = turn_;
    parts_[rank] = own;
    if (++arrived_ == parts_.size()) {
      total_ = evaluation::sum_in_pairs(at::stack(parts_));
      arrived_ = 0;
      ++turn_;
      here_.notify_all();
    } else {
      here_.wait(lock, [&] { return turn_ != turn; });
    }
    own.copy_(total_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable here_;
  std::vector<at::Tensor> parts_;
  at::Tensor total_;
  std::size_t arrived_ = 0;
  long turn_ = 0;
};
}  // namespace

int main(int argc, char** argv) {
  if (argc < 7) {
    std::fprintf(stderr, "probe_bench FEATURES LABELS N D K C [workers] [threads of each]\n");
    return 2;
  }
  const auto number = [&](int i, long usual) { return argc > i ? std::atol(argv[i]) : usual; };
  const long n = number(3, 0), d = number(4, 0), k = number(5, 0), workers = number(7, 1);
  const double c = std::atof(argv[6]);
  at::set_num_threads(static_cast<int>(number(8, 1)));
  const at::Tensor x = read(argv[1], {n, d}, at::kFloat), label = read(argv[2], {n}, at::kLong);
  const double before = resident_mib();
  const auto started = std::chrono::steady_clock::now();
  Meeting meeting(static_cast<std::size_t>(workers));
  std::vector<evaluation::LinearClassifier> found(static_cast<std::size_t>(workers));
  const auto work = [&](long rank) {
    const long first = n * rank / workers, count = n * (rank + 1) / workers - first;
    evaluation::ProbeGang gang;  // eight slots, as a job has
    for (long slot = 0, of = 8 / workers; slot < of; ++slot)
      gang.slots.push_back(at::arange(count * slot / of, count * (slot + 1) / of));
    if (workers > 1) gang.sum = [&](at::Tensor& own) { meeting.sum(static_cast<std::size_t>(rank), own); };
    found[static_cast<std::size_t>(rank)] = evaluation::fit_logistic_regression(
        x.narrow(0, first, count), label.narrow(0, first, count), k, c, {}, gang);
  };
  std::vector<std::thread> others;
  for (long rank = 1; rank < workers; ++rank) others.emplace_back(work, rank);
  work(0);
  for (auto& other : others) other.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  const double grown = resident_mib() - before;
  std::printf(
      "{\"seconds\": %.2f, \"objective\": %.9f, \"grown_mib\": %.0f, \"features_mib\": %.0f, \"accuracy\": "
      "%.5f}\n",
      seconds, evaluation::logistic_objective(found[0], x, label, c), grown,
      static_cast<double>(x.nbytes()) / (1 << 20), evaluation::accuracy(found[0], x, label));
}

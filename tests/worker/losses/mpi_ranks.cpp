// The contrastive family over MPI, started by mpi_contrastive_test under mpirun: every rank compares its part
// with the same computation over threads, bit by bit, and says what is off.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <mpi.h>

#include <cstdio>
#include <numeric>

#include "common/base/error.h"
#include "tests/worker/losses/support/full_matrix.h"
#include "tests/worker/losses/support/random_batch.h"
#include "worker/collective/mpi/mpi_group.h"
#include "worker/collective/slot_tree.h"

namespace {
using namespace trireme;
using namespace trireme::worker;
using namespace trireme::worker::losses;

bool alike(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == at::kFloat ? at::equal(a, b) : at::allclose(a, b, 1e-13, 1e-13);
}

int compare(std::uint64_t key, const WholeBatch& batch, collective::Group& group) {
  const auto want = streamed(batch, 1);
  const auto got = contrastive(slots_of(batch, group.size(), group.rank()), batch.slots, batch.point,
                               batch.options, group, one_after_the_other);
  const auto rows = batch.live.size(0) / batch.slots;
  auto slot = collective::own_slots(batch.slots, group.size(), group.rank()).first;
  bool same = got.loss == want.loss && got.live == want.live;
  for (const auto& gradient : got.gradients) {
    same = same && alike(gradient.image_bD, want.image.narrow(0, slot * rows, rows));
    for (std::size_t p = 0; p < want.texts.size(); ++p)
      same = same && alike(gradient.text_bD[p], want.texts[p].narrow(0, slot * rows, rows));
    ++slot;
  }
  if (!same)
    std::printf("FAULT rank %d of %d, case %d: loss %.17g, alone %.17g\n", group.rank(), group.size(),
                static_cast<int>(key), got.loss, want.loss);
  return same ? 0 : 1;
}

// Ranks that disagree all throw, and nobody waits.
int disagree(collective::Group& group) {
  auto batch = random_batch(1);
  batch.slots = group.size();
  batch.image = Random(1).rows(2 * group.size(), 4);
  batch.texts = {Random(2).rows(2 * group.size(), 4)};
  batch.live = at::ones({2 * group.size()}, at::kByte);
  batch.weights.clear();
  batch.labels = at::Tensor();
  if (group.rank() == 1) batch.point.scale *= 2;
  try {
    contrastive(slots_of(batch, group.size(), group.rank()), batch.slots, batch.point, batch.options, group,
                one_after_the_other);
  } catch (const Error& error) {
    if (std::string(error.what()).find("on rank 1") != std::string::npos) return 0;
  }
  std::printf("FAULT rank %d: a scale that differs was taken\n", group.rank());
  return 1;
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
  const auto group = collective::make_mpi_group(MPI_COMM_WORLD, everybody, 1);
  int faults = disagree(*group);
  for (std::uint64_t key = 0, done = 0; done < 25; ++key) {
    const auto batch = random_batch(key, key % 2 == 0 ? at::kFloat : at::kDouble);
    if (batch.slots % size != 0) continue;
    faults += compare(key, batch, *group);
    ++done;
  }
  std::printf("rank %d: %d faults\n", rank, faults);
  std::fflush(stdout);
  MPI_Finalize();
  return faults == 0 ? 0 : 1;
}

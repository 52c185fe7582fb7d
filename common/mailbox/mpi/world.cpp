#include "common/mailbox/mpi/world.h"

#include <array>
#include <random>

#include "common/base/error.h"
#include "common/mailbox/mpi/mpi_mailbox.h"

namespace trireme {
namespace {
void check(int code, const char* call) {
  if (code != MPI_SUCCESS)
    throw Error(ErrorKind::kTryAgain, std::string(call) + " failed: " + mpi_error_text(code));
}

MPI_Comm duplicate(MPI_Comm of) {
  MPI_Comm copy = MPI_COMM_NULL;
  check(MPI_Comm_dup(of, &copy), "MPI_Comm_dup");
  check(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return copy;
}
}  // namespace

std::string mpi_error_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING + 1> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) return "MPI error " + std::to_string(code);
  return {text.data(), static_cast<std::size_t>(length)};
}

MpiWorld::MpiWorld() {
  int provided = MPI_THREAD_SINGLE;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided) != MPI_SUCCESS)
    throw Error(ErrorKind::kUnavailable, "MPI does not start", "run `trireme doctor`");
  if (provided < MPI_THREAD_MULTIPLE)
    throw Error(ErrorKind::kUnavailable, "this MPI library does not grant MPI_THREAD_MULTIPLE",
                "install a build of Open MPI with thread support (Debian's openmpi-bin has it)");
  mail_ = duplicate(MPI_COMM_WORLD);
  gangs_ = duplicate(MPI_COMM_WORLD);
  MPI_Comm_rank(mail_, &rank_);
  MPI_Comm_size(mail_, &size_);
  MPI_Comm host = MPI_COMM_NULL;
  check(MPI_Comm_split_type(mail_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host), "MPI_Comm_split_type");
  int on_host = 0, position = 0, least = 0;
  MPI_Comm_size(host, &on_host);
  MPI_Comm_rank(host, &position);
  check(MPI_Allreduce(&rank_, &least, 1, MPI_INT, MPI_MIN, host), "MPI_Allreduce");
  MPI_Comm_free(&host);
  const int coordinators = least == 0 ? 1 : 0;  // ordered by world rank, so it comes first
  workers_on_host_ = on_host - coordinators;
  position_on_host_ = rank_ == 0 ? -1 : position - coordinators;
  hang_bells();
}

void MpiWorld::hang_bells() {
  std::random_device random;
  std::uint64_t number = (std::uint64_t{random()} << 32) | random();
  check(MPI_Bcast(&number, 1, MPI_UINT64_T, 0, mail_), "MPI_Bcast");
  bell_ = std::make_unique<Bell>(number, rank_);
  check(MPI_Barrier(mail_), "MPI_Barrier");
  int mine = 1, all = 0;
  for (Rank peer = 0; peer < size_ && mine == 1; ++peer) mine = bell_->ring(peer) ? 1 : 0;
  check(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, mail_), "MPI_Allreduce");
  everybody_hears_ = all == 1;
}

std::unique_ptr<Mailbox> MpiWorld::mailbox() {
  return make_mpi_mailbox(mail_, std::move(bell_), everybody_hears_);
}

void MpiWorld::finalize() {
  check(MPI_Finalize(), "MPI_Finalize");
}

}  // namespace trireme

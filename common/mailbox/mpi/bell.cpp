#include "common/mailbox/mpi/bell.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <ctime>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace trireme {
namespace {

struct Address {
  sockaddr_un name{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};

Address address_of(std::uint64_t world, Rank rank) {
  Address address;
  address.name.sun_family = AF_UNIX;  // a name that begins with a zero is no file
  const int length = std::snprintf(address.name.sun_path + 1, sizeof address.name.sun_path - 1,
                                   "trireme-%016llx-%d", static_cast<unsigned long long>(world), rank);
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  return address;
}

}  // namespace

Bell::Bell(std::uint64_t world, Rank rank) : world_(world), rank_(rank) {
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const Address own = address_of(world, rank);
  if (socket_ < 0 || ::bind(socket_, own.get(), own.length) == 0) return;
  ::close(socket_);
  socket_ = -1;
}

Bell::~Bell() {
  if (socket_ >= 0) ::close(socket_);
}

bool Bell::ring(Rank rank) const noexcept {
  const Address to = address_of(world_, rank);
  const char by_another = rank == rank_ ? 0 : 1;
  // A full queue is a bell that rings already.
  return ::sendto(socket_, &by_another, 1, MSG_DONTWAIT | MSG_NOSIGNAL, to.get(), to.length) == 1 ||
         errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
}

bool Bell::wait(std::chrono::nanoseconds at_most) const noexcept {
  const auto count = std::max<std::int64_t>(at_most.count(), 0);
  const timespec time{static_cast<time_t>(count / 1'000'000'000), static_cast<long>(count % 1'000'000'000)};
  pollfd rung{socket_, POLLIN, 0};
  if (::ppoll(&rung, 1, &time, nullptr) <= 0) return false;
  bool by_another = false;
  for (char byte = 0; ::recv(socket_, &byte, 1, MSG_DONTWAIT) >= 0;) by_another = by_another || byte != 0;
  return by_another;
}

}  // namespace trireme

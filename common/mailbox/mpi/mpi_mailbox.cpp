#include "common/mailbox/mpi/mpi_mailbox.h"

#include <algorithm>
#include <deque>
#include <list>
#include <set>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/mailbox/mpi/world.h"

namespace trireme {
namespace {
constexpr int kTag = 1;
constexpr std::size_t kLongestMail = std::size_t{1} << 30;
constexpr std::size_t kReceivesAtOnce = 64;

struct Outgoing {
  std::string bytes;
  bool replaceable = false;
};
struct Lane {  // to one peer; the front is in flight while `request` is set
  std::deque<Outgoing> queue;
  MPI_Request request = MPI_REQUEST_NULL;
};
struct Incoming {
  Mail mail;
  MPI_Request request = MPI_REQUEST_NULL;
  bool arrived = false, failed = false;
};

class MpiMailbox final : public Mailbox {
 public:
  explicit MpiMailbox(MPI_Comm communicator) : communicator_(communicator) {
    MPI_Comm_rank(communicator_, &rank_);
    MPI_Comm_size(communicator_, &size_);
    lanes_.resize(static_cast<std::size_t>(size_));
  }
  Rank rank() const override { return rank_; }
  int size() const override { return size_; }

  void send(Rank to, std::string bytes, bool replaceable) override {
    if (to < 0 || to >= size_) throw Error(ErrorKind::kInternal, "mail for rank " + std::to_string(to));
    if (bytes.size() > kLongestMail)
      throw Error(ErrorKind::kInternal, "mail of " + std::to_string(bytes.size()) + " bytes");
    Lane& lane = lanes_[static_cast<std::size_t>(to)];
    if (replaceable) {
      const auto waiting = lane.queue.begin() + (lane.request == MPI_REQUEST_NULL ? 0 : 1);
      lane.queue.erase(
          std::remove_if(waiting, lane.queue.end(), [](const Outgoing& o) { return o.replaceable; }),
          lane.queue.end());
    }
    lane.queue.push_back({std::move(bytes), replaceable});
    advance(to);
  }

  std::optional<Mail> poll() override {
    for (Rank peer = 0; peer < size_; ++peer) advance(peer);
    accept();
    return first_arrived();
  }

  std::uint64_t unsent_bytes() const override {
    std::uint64_t bytes = 0;
    for (const Lane& lane : lanes_)
      for (const Outgoing& out : lane.queue) bytes += std::max<std::size_t>(out.bytes.size(), 1);
    return bytes;
  }

 private:
  bool succeeded(int code, const char* call, Rank peer) {
    if (code == MPI_SUCCESS) return true;
    if (complained_.insert(peer).second)
      log_warning("mailbox", std::string(call) + " with rank " + std::to_string(peer) +
                                 " failed: " + mpi_error_text(code));
    return false;
  }

  // Finishes what left and starts what may leave; small mail completes inside the same call.
  void advance(Rank peer) {
    Lane& lane = lanes_[static_cast<std::size_t>(peer)];
    while (!lane.queue.empty()) {
      int sent = 1;
      if (lane.request == MPI_REQUEST_NULL) {
        const std::string& bytes = lane.queue.front().bytes;
        if (!succeeded(MPI_Isend(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, peer, kTag,
                                 communicator_, &lane.request),
                       "MPI_Isend", peer))
          lane.request = MPI_REQUEST_NULL;
      }
      if (lane.request != MPI_REQUEST_NULL &&
          !succeeded(MPI_Test(&lane.request, &sent, MPI_STATUS_IGNORE), "MPI_Test", peer)) {
        lane.request = MPI_REQUEST_NULL;
        sent = 1;
      }
      if (sent == 0) return;
      lane.queue.pop_front();
    }
  }

  // Starts a receive for every mail that has announced itself.
  void accept() {
    while (incoming_.size() < kReceivesAtOnce) {
      int there = 0, length = 0;
      MPI_Message message = MPI_MESSAGE_NULL;
      MPI_Status status{};
      if (!succeeded(MPI_Improbe(MPI_ANY_SOURCE, kTag, communicator_, &there, &message, &status),
                     "MPI_Improbe", -1) ||
          there == 0)
        return;
      MPI_Get_count(&status, MPI_BYTE, &length);
      Incoming& next = incoming_.emplace_back();
      next.mail.from = status.MPI_SOURCE;
      next.mail.bytes.resize(static_cast<std::size_t>(length));
      next.failed = !succeeded(MPI_Imrecv(next.mail.bytes.data(), length, MPI_BYTE, &message, &next.request),
                               "MPI_Imrecv", status.MPI_SOURCE);
    }
  }

  // The oldest complete mail that no older one of the same peer must precede.
  std::optional<Mail> first_arrived() {
    std::set<Rank> waiting;
    for (auto at = incoming_.begin(); at != incoming_.end();) {
      int arrived = at->arrived || at->failed ? 1 : 0;
      if (arrived == 0)
        at->failed =
            !succeeded(MPI_Test(&at->request, &arrived, MPI_STATUS_IGNORE), "MPI_Test", at->mail.from);
      if (at->failed) {
        at = incoming_.erase(at);
        continue;
      }
      at->arrived = arrived != 0;
      if (at->arrived && !waiting.contains(at->mail.from)) {
        Mail mail = std::move(at->mail);
        incoming_.erase(at);
        return mail;
      }
      waiting.insert(at->mail.from);
      ++at;
    }
    return std::nullopt;
  }

  MPI_Comm communicator_;
  Rank rank_ = 0;
  int size_ = 0;
  std::vector<Lane> lanes_;
  std::list<Incoming> incoming_;  // buffers of receives in flight must not move
  std::set<Rank> complained_;
};
}  // namespace

std::unique_ptr<Mailbox> make_mpi_mailbox(MPI_Comm communicator) {
  return std::make_unique<MpiMailbox>(communicator);
}

}  // namespace trireme

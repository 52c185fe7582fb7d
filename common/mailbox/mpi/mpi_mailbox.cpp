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
constexpr int kTag = 1, kReplaceableTag = 2;
constexpr std::size_t kLongestMail = std::size_t{1} << 30;
constexpr std::size_t kReceivesAtOnce = 64;
constexpr std::chrono::milliseconds kLateAtMost{20};  // mail, after its bell

// Between two looks, by the time since something moved.
std::chrono::nanoseconds idle_wait(std::chrono::nanoseconds quiet) {
  using namespace std::chrono_literals;
  return quiet < 20ms ? 500us : quiet < 200ms ? 2ms : quiet < 5s ? 8ms : 16ms;
}

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
  MpiMailbox(MPI_Comm communicator, std::unique_ptr<Bell> bell, bool everybody_hears)
      : communicator_(communicator), bell_(std::move(bell)), everybody_hears_(everybody_hears) {
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
    auto mail = first_arrived();
    if (mail) expected_ = false;
    return mail;
  }

  void wait(std::chrono::nanoseconds at_most) override {
    // What is under way moves within our own calls alone; and mail may come after the bell.
    const auto quiet = now() - moved_;
    expected_ = expected_ && quiet < kLateAtMost;
    const bool under_way = expected_ || !incoming_.empty() || unsent_bytes() > 0;
    if (under_way || !everybody_hears_) at_most = std::min(at_most, idle_wait(quiet));
    if (!bell_->wait(at_most)) return;
    expected_ = true;
    moved_ = now();
  }

  void wake() override { bell_->ring(rank_); }

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
      if (lane.request == MPI_REQUEST_NULL) start(peer, lane);
      if (lane.request != MPI_REQUEST_NULL &&
          !succeeded(MPI_Test(&lane.request, &sent, MPI_STATUS_IGNORE), "MPI_Test", peer)) {
        lane.request = MPI_REQUEST_NULL;
        sent = 1;
      }
      if (sent == 0) return;
      lane.queue.pop_front();
    }
  }

  void start(Rank peer, Lane& lane) {
    const auto& [bytes, replaceable] = lane.queue.front();
    if (!succeeded(MPI_Isend(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, peer,
                             replaceable ? kReplaceableTag : kTag, communicator_, &lane.request),
                   "MPI_Isend", peer))
      lane.request = MPI_REQUEST_NULL;
    if (!replaceable) moved_ = now();
    if (everybody_hears_ && peer != rank_) bell_->ring(peer);
  }

  // Starts a receive for every mail that has announced itself. A look that finds nothing moves MPI forward,
  // so that the next one may find something.
  void accept() {
    for (int looks = 0; incoming_.size() < kReceivesAtOnce;) {
      int there = 0, length = 0;
      MPI_Message message = MPI_MESSAGE_NULL;
      MPI_Status status{};
      if (!succeeded(MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, communicator_, &there, &message, &status),
                     "MPI_Improbe", -1))
        return;
      if (there == 0) {
        if (++looks == 2) return;
        continue;
      }
      if (status.MPI_TAG == kTag) moved_ = now();
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

  using Steady = std::chrono::steady_clock;
  static Steady::time_point now() { return Steady::now(); }

  MPI_Comm communicator_;
  std::unique_ptr<Bell> bell_;
  bool everybody_hears_ = false, expected_ = false;  // rung, and no mail since
  Steady::time_point moved_ = now();  // the last time that mail came or went which is not replaceable
  Rank rank_ = 0;
  int size_ = 0;
  std::vector<Lane> lanes_;
  std::list<Incoming> incoming_;  // buffers of receives in flight must not move
  std::set<Rank> complained_;
};
}  // namespace

std::unique_ptr<Mailbox> make_mpi_mailbox(MPI_Comm communicator, std::unique_ptr<Bell> bell,
                                          bool everybody_hears) {
  return std::make_unique<MpiMailbox>(communicator, std::move(bell), everybody_hears);
}

}  // namespace trireme

#include "common/mailbox/local/local_mailbox.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "common/base/error.h"

namespace trireme {
namespace {
struct Item {
  Mail mail;
  bool replaceable = false;
};

struct PostOffice {
  explicit PostOffice(int ranks)
      : inboxes(static_cast<std::size_t>(ranks)), woken(static_cast<std::size_t>(ranks)) {}
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::deque<Item>> inboxes;
  std::vector<char> woken;
};

class LocalMailbox final : public Mailbox {
 public:
  LocalMailbox(std::shared_ptr<PostOffice> office, Rank rank) : office_(std::move(office)), rank_(rank) {}
  Rank rank() const override { return rank_; }
  int size() const override { return static_cast<int>(office_->inboxes.size()); }

  void send(Rank to, std::string bytes, bool replaceable) override {
    if (to < 0 || to >= size()) throw Error(ErrorKind::kInternal, "mail for rank " + std::to_string(to));
    const std::lock_guard lock(office_->mutex);
    auto& inbox = office_->inboxes[static_cast<std::size_t>(to)];
    if (replaceable)
      std::erase_if(inbox, [&](const Item& item) { return item.replaceable && item.mail.from == rank_; });
    inbox.push_back({{rank_, std::move(bytes)}, replaceable});
    office_->changed.notify_all();
  }

  std::optional<Mail> poll() override {
    const std::lock_guard lock(office_->mutex);
    auto& inbox = office_->inboxes[static_cast<std::size_t>(rank_)];
    if (inbox.empty()) return std::nullopt;
    Mail mail = std::move(inbox.front().mail);
    inbox.pop_front();
    return mail;
  }

  std::uint64_t unsent_bytes() const override {
    const std::lock_guard lock(office_->mutex);
    std::uint64_t bytes = 0;
    for (const auto& inbox : office_->inboxes)
      for (const auto& item : inbox)
        if (item.mail.from == rank_) bytes += item.mail.bytes.size();
    return bytes;
  }

  void wait(std::chrono::nanoseconds at_most) override {
    if (unsent_bytes() > 0)
      at_most = std::min<std::chrono::nanoseconds>(at_most, std::chrono::milliseconds(1));
    std::unique_lock lock(office_->mutex);
    const auto own = static_cast<std::size_t>(rank_);
    office_->changed.wait_for(lock, at_most,
                              [&] { return office_->woken[own] != 0 || !office_->inboxes[own].empty(); });
    office_->woken[own] = 0;
  }

  void wake() override {
    const std::lock_guard lock(office_->mutex);
    office_->woken[static_cast<std::size_t>(rank_)] = 1;
    office_->changed.notify_all();
  }

 private:
  std::shared_ptr<PostOffice> office_;
  Rank rank_;
};
}  // namespace

std::vector<std::unique_ptr<Mailbox>> make_local_mailboxes(int ranks) {
  auto office = std::make_shared<PostOffice>(ranks);
  std::vector<std::unique_ptr<Mailbox>> boxes;
  for (Rank rank = 0; rank < ranks; ++rank) boxes.push_back(std::make_unique<LocalMailbox>(office, rank));
  return boxes;
}

}  // namespace trireme

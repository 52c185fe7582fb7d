// What every backend must do, written for one rank among `box.size()`: the local test runs it on threads, the
// MPI test in processes. Each function returns what went wrong, "" when nothing did.
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <thread>

#include "common/mailbox/mailbox.h"

namespace trireme::test {

// A mailbox, and mail of ranks that are already in a later part than this one.
struct Peer {
  Mailbox& box;
  std::deque<Mail> early = {};
};

inline char kind_of(const Mail& mail) {
  return mail.bytes.empty() ? ' ' : mail.bytes[0];
}

// The next mail whose first letter is `kind` (a blank: empty mail); nullopt after 30 s. Between two looks it
// waits for at most `nap`.
inline std::optional<Mail> await_mail(Peer& peer, char kind, std::chrono::seconds nap = {}) {
  const auto found =
      std::find_if(peer.early.begin(), peer.early.end(), [&](const Mail& m) { return kind_of(m) == kind; });
  if (found != peer.early.end()) {
    Mail mail = std::move(*found);
    peer.early.erase(found);
    return mail;
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < deadline) {
    auto mail = peer.box.poll();
    if (mail && kind_of(*mail) == kind) return mail;
    if (mail)
      peer.early.push_back(std::move(*mail));
    else if (nap.count() > 0)
      peer.box.wait(nap);
    else
      std::this_thread::yield();
  }
  return std::nullopt;
}

inline std::string body(Rank from, Rank to, int number) {
  const std::size_t length = number == 7 ? 8 << 20 : static_cast<std::size_t>(number * 613) % 100000;
  std::string bytes(length, static_cast<char>('a' + (from * 7 + to * 3 + number) % 26));
  return "a" + std::to_string(number) + ":" + bytes;
}

// Every rank mails every rank (itself too), empty to 8 MiB; order per peer, sender and bytes are kept.
inline std::string all_to_all(Peer& peer) {
  Mailbox& box = peer.box;
  constexpr int kMails = 60;
  for (int number = 0; number < kMails; ++number)
    for (Rank to = 0; to < box.size(); ++to) box.send(to, body(box.rank(), to, number));
  std::map<Rank, int> next;
  for (int count = 0; count < kMails * box.size(); ++count) {
    const auto mail = await_mail(peer, 'a');
    if (!mail) return "mail is missing";
    if (mail->bytes != body(mail->from, box.rank(), next[mail->from]++))
      return "mail of rank " + std::to_string(mail->from) + " is damaged or out of order";
  }
  return "";
}

// Replaceable mail may be dropped for newer one, never reordered; the newest and all ordinary mail arrive.
inline std::string replaceable(Peer& peer) {
  Mailbox& box = peer.box;
  const Rank to = (box.rank() + 1) % box.size();
  box.send(to, "r first");
  for (int beat = 0; beat < 200; ++beat) box.send(to, "r" + std::to_string(beat), true);
  box.send(to, "r last");
  int newest = -1;
  bool first = false;
  for (;;) {
    const auto mail = await_mail(peer, 'r');
    if (!mail) return "ordinary mail is missing";
    if (mail->bytes == "r last") break;
    if (mail->bytes == "r first") {
      first = true;
    } else if (std::stoi(mail->bytes.substr(1)) <= newest) {
      return "an old replaceable mail came after a newer one";
    } else {
      newest = std::stoi(mail->bytes.substr(1));
    }
  }
  if (!first) return "the first ordinary mail was replaced";
  return newest == 199 ? "" : "the newest replaceable mail is missing";
}

// Empty mail is mail, and an idle mailbox has nothing to say.
inline std::string empty_mail(Peer& peer) {
  Mailbox& box = peer.box;
  if (box.rank() == 0)
    for (Rank to = 1; to < box.size(); ++to) box.send(to, "");
  if (box.rank() == 0) return "";
  const auto mail = await_mail(peer, ' ');
  if (!mail || !mail->bytes.empty() || mail->from != 0) return "the empty mail did not come";
  return "";
}

// Whoever waits is woken by mail, and by a wake() before or during the wait; else it waits as long as it was
// told.
inline std::string waiting(Peer& peer) {
  using Steady = std::chrono::steady_clock;
  using namespace std::chrono_literals;
  Mailbox& box = peer.box;
  const auto took = [&](std::chrono::nanoseconds at_most) {
    const auto begun = Steady::now();
    box.wait(at_most);
    return Steady::now() - begun;
  };
  const Rank next = (box.rank() + 1) % box.size();
  for (int turn = 0; turn < 20; ++turn) {  // passed on from rank to rank; the others sleep meanwhile
    if (box.rank() == 0) box.send(next, "w");
    const auto begun = Steady::now();
    if (!await_mail(peer, 'w', 29s) || Steady::now() - begun > 20s) return "mail woke nobody";
    if (box.rank() != 0) box.send(next, "w");
  }
  box.wake();
  if (took(30s) > 20s) return "a wake() before the wait was lost";
  std::thread other([&] { box.wake(); });
  const bool late = took(30s) > 20s;
  other.join();
  return late ? "a wake() from another thread woke nobody" : "";
}

// Ends a part: nobody goes on before everybody came here and all its mail has left.
inline std::string meet(Peer& peer) {
  Mailbox& box = peer.box;
  box.send(0, "here");
  if (box.rank() == 0) {
    for (int count = 0; count < box.size(); ++count)
      if (!await_mail(peer, 'h')) return "somebody did not come";
    for (Rank to = 0; to < box.size(); ++to) box.send(to, "on");
  }
  if (!await_mail(peer, 'o')) return "the meeting never ended";
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (box.unsent_bytes() > 0 && std::chrono::steady_clock::now() < deadline) {
    if (auto mail = box.poll()) peer.early.push_back(std::move(*mail));
    std::this_thread::yield();
  }
  return box.unsent_bytes() == 0 ? "" : "mail did not leave";
}

inline std::string nothing_left(Peer& peer) {
  return peer.early.empty() && !peer.box.poll() ? "" : "stray mail";
}

inline std::string whole_suite(Peer& peer) {
  for (auto* part : {&all_to_all, &meet, &replaceable, &meet, &empty_mail, &meet, &waiting, &meet})
    if (std::string fault = part(peer); !fault.empty())
      return "rank " + std::to_string(peer.box.rank()) + ": " + fault;
  return "";
}

}  // namespace trireme::test

// Point-to-point bytes between ranks: the control plane's only wire. Backends: local/ (threads of one
// process, for tests) and mpi/ (own duplicated communicator, non-blocking calls polled with deadlines; never
// waits for a peer that may be dead). One thread owns a mailbox.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "common/base/ids.h"

namespace trireme {

struct Mail {
  Rank from = 0;
  std::string bytes;
};

class Mailbox {
 public:
  virtual ~Mailbox() = default;
  virtual Rank rank() const = 0;
  virtual int size() const = 0;

  // Takes the bytes and returns at once; delivery is in order per peer. `replaceable` mail (heartbeats,
  // progress) that has not left yet gives way to newer replaceable mail for the same peer.
  virtual void send(Rank to, std::string bytes, bool replaceable = false) = 0;

  // Moves traffic forward without waiting; the next arrived mail, if any.
  virtual std::optional<Mail> poll() = 0;

  // Bytes accepted by send() that have not left yet.
  virtual std::uint64_t unsent_bytes() const = 0;

  // Returns when it is worth polling again (mail may have come, or some of it is under way), after a wake(),
  // also one since the last wait, and at the latest after `at_most`.
  virtual void wait(std::chrono::nanoseconds at_most) = 0;

  // Ends the owner's wait(). The one call that any thread may make.
  virtual void wake() = 0;
};

}  // namespace trireme

// What an event leads to: rows to commit in one transaction, then messages to send, then what may only happen
// once all that is durable (answers, deletions). Deciding changes memory only; nothing leaves before commit.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "coordinator/ledger/rows.h"
#include "jobs/protocol/messages.h"

namespace trireme::coordinator::service {

struct Outgoing {
  Rank to = 0;
  jobs::Message message;
};

struct Decision {
  ledger::Batch writes;
  std::vector<Outgoing> messages;
  std::vector<std::function<void()>> after;

  void event(std::string kind, const std::string& job, std::string payload) {
    writes.push_back(ledger::Event{std::move(kind), job, std::move(payload)});
  }
  void send(Rank to, jobs::Message message) { messages.push_back({to, std::move(message)}); }
};

}  // namespace trireme::coordinator::service

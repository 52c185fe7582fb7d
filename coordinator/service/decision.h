// What an event leads to: rows to commit in one transaction, then messages to send, then what may only happen
// once all that is durable (answers, deletions). Deciding changes memory only; nothing leaves before commit.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "coordinator/ledger/rows.h"
#include "jobs/protocol/messages.h"

namespace trireme::coordinator::service {

// Wall-clock times of rows are for people.
inline std::int64_t milliseconds(SystemTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

struct Outgoing {
  Rank to = 0;
  jobs::Message message;
};

// What an event says, members in their order. Events are for people: whatever is no UTF-8 is replaced.
inline std::string payload(const nlohmann::ordered_json& members) {
  return members.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

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

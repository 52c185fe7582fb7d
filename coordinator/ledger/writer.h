// Turns a batch into rows inside an open transaction and keeps each table's count and XOR, and the event
// chain, in step with them. The sums change for good only with accept(); a rolled-back transaction drops
// them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "coordinator/ledger/rows.h"
#include "coordinator/ledger/start_check.h"

namespace trireme::coordinator::ledger {

class Writer {
 public:
  Writer(Database& database, const CheckedLedger& checked);
  ~Writer();

  // Writes everything, then the meta rows that changed. `time_ms` goes on the events.
  void write(const Batch& batch, std::uint64_t incarnation, std::int64_t time_ms);
  void put_meta(const std::string& name, const std::string& value);
  void accept();
  void discard();

  std::uint64_t last_sequence() const;  // of what was accepted

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme::coordinator::ledger

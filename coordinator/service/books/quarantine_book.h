// What kills workers (RELIABILITY 8.5): a sample, or where none was in hand a shard, that a worker had in
// hand when it crashed by itself is suspected, and at the second death no task of the job gets it any more:
// it is bad ("quarantined") from its inspection on. State thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/io/machine/in_hand.h"
#include "coordinator/ledger/ledger.h"
#include "coordinator/service/decision.h"
#include "coordinator/service/describe.h"

namespace trireme::coordinator::service {

class QuarantineBook {
 public:
  static constexpr std::size_t kDeaths = 2;

  QuarantineBook(ledger::Ledger& ledger, io::Path run_folder);

  // What the crashes before this incarnation say of the job. True when something new is known.
  bool take_up(const std::string& job, Decision& decision);
  // Keys by path of the shard, "" for the whole of it, as planner::ListedJob has them.
  std::map<std::string, std::vector<std::string>> kept_from(const std::string& job) const;
  std::vector<QuarantineView> views(const std::string& job) const;
  std::int64_t deaths() const;  // that are known of; only grows

 private:
  struct Item {
    std::string job, shard, sample;
    std::vector<io::Crash> deaths;
    bool quarantined() const { return deaths.size() >= kDeaths; }
  };
  Item& item_of(const std::string& job, const std::string& shard, const std::string& sample);
  void note(const io::Crash& crash, Decision& decision);

  ledger::Ledger& ledger_;
  io::Path run_folder_;
  std::map<std::string, Item> items_;  // by QuarantineRow::item
};

}  // namespace trireme::coordinator::service

#include "coordinator/service/books/quarantine_book.h"

#include <algorithm>
#include <csignal>

#include "common/base/error.h"
#include "common/base/log.h"

namespace trireme::coordinator::service {
namespace {

using nlohmann::ordered_json;

// SIGKILL is blamed on a sample only where the kernel killed for memory (common/io/machine/in_hand.h).
std::string words(const io::Crash& crash) {
  return "worker " + std::to_string(crash.rank) + ", signal " + std::to_string(crash.signal) +
         (crash.signal == SIGKILL ? " (out of memory)" : "") + ", stage " + crash.stage;
}

ordered_json json_of(const io::Crash& crash) {
  return {{"incarnation", crash.incarnation},
          {"worker", crash.rank},
          {"signal", crash.signal},
          {"stage", crash.stage}};
}

io::Crash crash_of(const nlohmann::json& said) {
  io::Crash crash;
  crash.incarnation = said.value("incarnation", std::uint64_t{0});
  crash.rank = said.value("worker", 0);
  crash.signal = said.value("signal", 0);
  crash.stage = said.value("stage", "");
  return crash;
}

std::string key_of(const std::string& job, const std::string& shard, const std::string& sample) {
  return job + (sample.empty() ? " shard " : " sample ") + shard + (sample.empty() ? "" : " " + sample);
}

}  // namespace

QuarantineBook::QuarantineBook(ledger::Ledger& ledger, io::Path run_folder)
    : ledger_(ledger), run_folder_(std::move(run_folder)) {
  for (const auto& row : ledger_.quarantine()) {
    const auto evidence = nlohmann::json::parse(row.evidence, nullptr, false);
    if (!evidence.is_object()) continue;
    Item item{row.job, evidence.value("shard", ""), evidence.value("sample", ""), {}};
    for (const auto& death : evidence.value("deaths", nlohmann::json::array()))
      item.deaths.push_back(crash_of(death));
    items_.emplace(row.item, std::move(item));
  }
}

QuarantineBook::Item& QuarantineBook::item_of(const std::string& job, const std::string& shard,
                                              const std::string& sample) {
  return items_.try_emplace(key_of(job, shard, sample), Item{job, shard, sample, {}}).first->second;
}

bool QuarantineBook::take_up(const std::string& job, Decision& decision) {
  const std::uint64_t now = ledger_.incarnation().value;
  const auto before = deaths();
  try {
    for (const auto& crash : io::crashes_before(run_folder_, now))
      if (crash.job == job) note(crash, decision);
  } catch (const Error& error) {
    log_warning("service", error.what());
  }
  std::vector<std::string> suspects;
  for (const auto& [key, item] : items_)
    if (item.job == job && item.sample.empty() && !item.quarantined()) suspects.push_back(item.shard);
  decision.after.push_back([this, now, suspects = std::move(suspects)] {
    try {
      io::forget_crashes(run_folder_, now);
      io::name_suspects(run_folder_, suspects);
    } catch (const Error& error) {
      log_warning("service", error.what());
    }
  });
  return deaths() != before;
}

void QuarantineBook::note(const io::Crash& crash, Decision& decision) {
  const bool named = !crash.sample.empty();
  const std::string& shard = named ? crash.sample_shard : crash.shard;
  if (shard.empty()) return;
  Item& item = item_of(crash.job, shard, crash.sample);
  const bool known = std::ranges::any_of(item.deaths, [&](const auto& death) {
    return death.incarnation == crash.incarnation && death.rank == crash.rank;
  });
  if (known) return;
  item.deaths.push_back(crash);
  const std::string what =
      named ? "sample " + crash.sample + " of " + shard : "shard " + shard + " (no sample was in hand)";
  log_warning("service", what + " was in hand when a worker crashed: " + words(crash) +
                             (item.quarantined() ? "; no task gets it any more"
                                                 : "; at the next death it is "
                                                   "quarantined"));
  ordered_json deaths = ordered_json::array();
  for (const auto& death : item.deaths) deaths.push_back(json_of(death));
  decision.writes.push_back(ledger::QuarantineRow{
      key_of(item.job, item.shard, item.sample), item.job, item.quarantined() ? "quarantined" : "suspect",
      payload({{"shard", shard}, {"sample", crash.sample}, {"deaths", deaths}})});
  decision.event(std::string(named ? "Sample" : "Shard") + (item.quarantined() ? "Quarantined" : "Suspected"),
                 item.job, payload({{"shard", shard}, {"sample", crash.sample}, {"death", words(crash)}}));
}

std::map<std::string, std::vector<std::string>> QuarantineBook::kept_from(const std::string& job) const {
  std::map<std::string, std::vector<std::string>> kept;
  for (const auto& [key, item] : items_)
    if (item.job == job && item.quarantined()) kept[item.shard].push_back(item.sample);
  for (auto& [shard, keys] : kept) std::ranges::sort(keys);
  return kept;
}

std::vector<QuarantineView> QuarantineBook::views(const std::string& job) const {
  std::vector<QuarantineView> views;
  for (const auto& [key, item] : items_)
    if (item.job == job)
      views.push_back({item.shard, item.sample, item.quarantined() ? "quarantined" : "suspect",
                       static_cast<std::int64_t>(item.deaths.size()),
                       item.deaths.empty() ? "" : words(item.deaths.back())});
  return views;
}

std::int64_t QuarantineBook::deaths() const {
  std::int64_t sum = 0;
  for (const auto& [key, item] : items_) sum += static_cast<std::int64_t>(item.deaths.size());
  return sum;
}

}  // namespace trireme::coordinator::service

// How the graph moves: results come in, items become ready.
#include <algorithm>

#include "common/base/error.h"
#include "coordinator/planner/graph_state.h"

namespace trireme::coordinator::planner {

bool GraphState::inputs_done(const Part& part, std::int64_t item) const {
  if (part.extent() == jobs::Extent::kShard) {
    const std::size_t maker =
        synthesizers[part.table][static_cast<std::size_t>(tables[part.table].source(item))];
    return maker == kNone || parts[maker].is_done(item - parts[maker].base);
  }
  if (part.extent() == jobs::Extent::kWholeShard) {
    const DataTable& table = tables[part.table];
    for (std::int64_t i = 0; i < table.ranges_of(item); ++i)
      if (!std::ranges::all_of(part.providers,
                               [&](std::size_t p) { return parts[p].is_done(table.first_range(item) + i); }))
        return false;
    return true;
  }
  return std::ranges::all_of(part.providers, [&](std::size_t p) { return parts[p].is_done(item); });
}

void GraphState::offer(std::size_t index, std::int64_t item, std::vector<TaskRef>& ready) {
  Part& part = parts[index];
  auto& state = part.states[static_cast<std::size_t>(item)];
  if (state != Part::kWaiting || part.barriers_left > 0 || !inputs_done(part, item)) return;
  const io::Hash128 place = address(index, item);
  part.records[static_cast<std::size_t>(item)].address = place;
  if (part.may_have_twins) {
    const auto [twin, first] = twins.try_emplace(place);
    if (!first) {
      twin->second.emplace_back(index, item);
      state = Part::kHeld;
      return;
    }
  }
  state = Part::kReady;
  ready.push_back(ref_of(index, item));
}

void GraphState::scan(std::size_t index, std::vector<TaskRef>& ready) {
  for (std::int64_t item = 0; item < parts[index].known(); ++item) offer(index, item, ready);
}

const std::vector<TaskRef>& GraphState::start() {
  if (!started)
    for (std::size_t i = 0; i < parts.size(); ++i) scan(i, first_ready);
  started = true;
  return first_ready;
}

// Its ranges exist from now on, in every part over the data set.
void GraphState::shard_inspected(std::size_t index, std::int64_t shard, const jobs::TaskDone& done,
                                 std::vector<TaskRef>& ready) {
  const std::size_t table = parts[index].table;
  const auto summary = jobs::summary_from_json(done.summary);
  const auto fresh = tables[table].set_inspected(shard, summary);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].extent() != jobs::Extent::kRange || parts[i].table != table) continue;
    parts[i].grow(tables[table].range_count());
    for (const std::int64_t item : fresh) offer(i, item, ready);
  }
}

std::vector<TaskRef> GraphState::complete(const TaskRef& ref, const jobs::TaskDone& result) {
  start();
  std::vector<TaskRef> ready;
  const std::size_t index = part_of(ref);
  const std::int64_t item = item_of(index, ref);
  Part& part = parts[index];
  auto& state = part.states[static_cast<std::size_t>(item)];
  if (state == Part::kDone) return ready;
  if (state == Part::kWaiting)
    throw Error(ErrorKind::kInternal, "task " + key_of(ref) + " is done before its inputs are");
  state = Part::kDone;
  auto& record = part.records[static_cast<std::size_t>(item)];
  if (!result.outputs.empty()) record.xxh3 = result.outputs.front().xxh3;
  ++part.done;
  part.reused += result.reused ? 1 : 0;
  for (const auto& [name, count] : result.counts) part.counts[name] += count;
  if (part.kind == jobs::TaskKind::kFilter) check_sum(part, item, result.counts);
  if (part.kind == jobs::TaskKind::kSynthesize && !result.outputs.empty())
    tables[part.table].set_bytes(part.base + item, result.outputs.front().bytes);
  if (part.kind == jobs::TaskKind::kInspect) shard_inspected(index, item, result, ready);
  if (part.may_have_twins) {
    const auto held = twins.extract(record.address);
    if (!held.empty())
      for (const auto& [twin, twin_item] : held.mapped()) {
        auto& twin_state = parts[twin].states[static_cast<std::size_t>(twin_item)];
        if (twin_state != Part::kHeld) continue;
        twin_state = Part::kReady;
        ready.push_back(ref_of(twin, twin_item));
      }
  }
  for (const std::size_t consumer : part.consumers) {
    const std::int64_t same = part.kind == jobs::TaskKind::kSynthesize ? part.base + item
                              : parts[consumer].extent() == jobs::Extent::kWholeShard
                                  ? tables[part.table].range(item).shard
                                  : item;
    if (same < parts[consumer].known()) offer(consumer, same, ready);
  }
  finish_part_if_complete(index, ready);
  if (part.kind == jobs::TaskKind::kInspect && tables[part.table].all_known())
    for (std::size_t i = 0; i < parts.size(); ++i)
      if (parts[i].extent() == jobs::Extent::kRange && parts[i].table == part.table)
        finish_part_if_complete(i, ready);
  return ready;
}

void GraphState::finish_part_if_complete(std::size_t index, std::vector<TaskRef>& ready) {
  Part& part = parts[index];
  if (part.complete || part.done < part.known() || !is_final(part)) return;
  part.complete = true;
  judge(part);
  check_export(part);
  for (const std::size_t waiter : part.waiters)
    if (--parts[waiter].barriers_left == 0) scan(waiter, ready);
}

// What goes into a filter comes out of it: kept, or dropped by a rule.
void GraphState::check_sum(const Part& part, std::int64_t item,
                           const std::map<std::string, std::int64_t>& counts) const {
  const auto count = [&](const char* name) {
    const auto found = counts.find(name);
    return found == counts.end() ? std::int64_t{0} : found->second;
  };
  const std::int64_t range = tables[part.table].range(item).count;
  if (count("in") == range && count("kept") + count("dropped") == range) return;
  throw Error(ErrorKind::kInternal,
              "stage \"" + stages[part.stage].name + "\": a range of " + std::to_string(range) +
                  " samples of " + tables[part.table].shard_ref(tables[part.table].range(item).shard).path +
                  " gave " + std::to_string(count("in")) + " in, " + std::to_string(count("kept")) +
                  " kept and " + std::to_string(count("dropped")) + " dropped");
}

// What a filter kept is what is written.
void GraphState::check_export(const Part& part) const {
  const auto exported = part.counts.find("exported");
  if (part.kind != jobs::TaskKind::kExport || exported == part.counts.end()) return;
  std::int64_t expected = 0;
  const auto filter = std::ranges::find_if(
      part.providers, [&](std::size_t one) { return parts[one].kind == jobs::TaskKind::kFilter; });
  if (filter == part.providers.end())
    for (std::int64_t shard = 0; shard < tables[part.table].size(); ++shard)
      expected += tables[part.table].shard_ref(shard).selected_count;
  else if (const auto kept = parts[*filter].counts.find("kept"); kept != parts[*filter].counts.end())
    expected = kept->second;
  if (exported->second != expected)
    throw Error(ErrorKind::kInternal, "stage \"" + stages[part.stage].name + "\" wrote " +
                                          std::to_string(exported->second) + " samples of data set \"" +
                                          tables[part.table].name() + "\", and " + std::to_string(expected) +
                                          " were kept");
}

// A map stage over one data set is through: are its results worth going on with?
void GraphState::judge(const Part& part) const {
  if (part.extent() != jobs::Extent::kRange) return;
  const auto count = [&](const std::string& name) {
    const auto found = part.counts.find(name);
    return found == part.counts.end() ? std::int64_t{0} : found->second;
  };
  const DataTable& table = tables[part.table];
  const std::string where = "stage \"" + stages[part.stage].name + "\", data set \"" + table.name() + "\": ";
  std::map<std::string, std::int64_t> bad, dropped;
  std::int64_t bad_sum = 0;
  for (const auto& [name, number] : part.counts) {
    if (name.rfind("bad.", 0) == 0) bad_sum += bad[name.substr(4)] = number;
    if (name.rfind("dropped.", 0) == 0) dropped[name.substr(8)] = number;
  }
  const std::int64_t all = count("in");
  if (all > 0 && static_cast<double>(bad_sum) > table.spec().max_bad_fraction * static_cast<double>(all))
    throw Error(ErrorKind::kInvalid,
                where + std::to_string(bad_sum) + " of " + std::to_string(all) + " samples are bad (" +
                    DataTable::listed(bad) + "), more than max_bad_fraction allows",
                "repair the data, or raise spec.data." + table.name() + ".max_bad_fraction");
  if (part.kind != jobs::TaskKind::kFilter || all == 0 || count("kept") > 0) return;
  const auto worst = std::ranges::max_element(dropped, {}, [](const auto& rule) { return rule.second; });
  std::string hint;
  if (worst != dropped.end())
    hint = "rule \"" + worst->first + "\" drops most; " +
           (worst->first.starts_with("column.")
                ? "move its limits or take it out of columns (report.html shows how "
                  "its numbers lie)"
                : "loosen it or set it to null");
  throw Error(ErrorKind::kInvalid,
              where + "the filter keeps none of " + std::to_string(all) +
                  " samples (dropped: " + DataTable::listed(dropped) + ")",
              hint);
}

}  // namespace trireme::coordinator::planner

// Content addresses: xxh3-128 of a text of everything that can change a task's bytes, and of nothing else.
// Names of stages, data sets and models, paths, worker counts and the store are left out; files stand by
// their hashes. One line per part, in the order in which it was added.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "common/io/hash.h"
#include "jobs/protocol/messages.h"
#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::planner {

inline constexpr int kAddressVersion = 3;
// Of inspect over files that others wrote: version 1 lost samples whose names hold dots or whose members are
// not adjacent. Stages behind it keep their addresses where ShardSummary::reading says that nothing was lost.
inline constexpr int kReadingVersion = 2;

class AddressText {
 public:
  void add(std::string_view what, std::string_view value);
  void add(std::string_view what, std::int64_t value) { add(what, std::to_string(value)); }
  void add(std::string_view what, const io::Hash128& value) { add(what, io::hex(value)); }
  io::Hash128 finish();

 private:
  std::string text_;  // folded into its hash when long, so that a million lines need little memory
};

// Settings without the names of data sets, stages and models.
std::string address_part(const jobs::StageSettings& settings);
// Weights and vocabulary by hash; `files`: as ListedJob::weights.
std::string address_part(const jobs::ModelSpec& model, const std::map<std::string, std::uint64_t>& files);
// Classes and templates; `labels`: hash of the class files beside the shards.
std::string address_part(const jobs::DataSpec& data, std::uint64_t labels);
// Without settings that came later and are off: what was rendered before them keeps its address.
std::string address_part(const jobs::SyntheticSpec& synthetic);
// How a shard of this source is read: format, columns, and what was set or found out beside the defaults.
std::string address_part(const jobs::SourceSpec& source, jobs::DataFormat format);

}  // namespace trireme::coordinator::planner

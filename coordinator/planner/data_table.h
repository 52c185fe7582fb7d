// The shards of one data set in little memory, what inspect told about them, and the ranges they are cut
// into. A range is a piece of at most task_samples usable samples of one shard, on the grid of task_samples
// and inside the data set's selection; it exists once the shard, and with a selection every shard before it,
// has been inspected. Single-threaded.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/io/hash.h"
#include "jobs/protocol/messages.h"
#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::planner {

struct Range {
  std::int64_t shard = 0;
  std::int64_t first = 0, count = 0;  // usable samples of the shard
};

class DataTable {
 public:
  DataTable(std::string name, const jobs::DataSpec& spec, std::int64_t task_samples);

  // Manifest order. `identity` stands for a path source's file (path, size, time of change).
  void add_shard(const jobs::ShardRef& shard, std::uint64_t identity);
  void set_bytes(std::int64_t shard, std::uint64_t bytes) {
    shards_[static_cast<std::size_t>(shard)].bytes = bytes;
  }

  // New ranges, in manifest order. Throws kInvalid where the data set forbids going on.
  std::vector<std::int64_t> set_inspected(std::int64_t shard, const jobs::ShardSummary& summary);

  // Names of classes that its labels have to lie within; 0: unknown.
  void set_classes(std::int64_t count) { classes_ = count; }

  // What tells the samples of an inspected shard: its sha256, and how it was read where version 1 read it
  // otherwise.
  std::string content(std::int64_t shard) const;
  // Where members and rows of the inspected shards went, "" when all of them were samples.
  std::string seen_text() const;

  const std::string& name() const { return name_; }
  const jobs::DataSpec& spec() const { return spec_; }
  std::int64_t size() const { return static_cast<std::int64_t>(shards_.size()); }
  std::int64_t source(std::int64_t shard) const { return at(shard).source; }
  std::uint64_t identity(std::int64_t shard) const { return at(shard).identity; }
  bool all_known() const { return frontier_ == size(); }  // every shard inspected, every range there
  std::int64_t bad_samples() const;
  // The shards with most bad samples, worst first, at most kDamagedListed: path, counts, first examples.
  struct Damaged {
    std::int64_t bad = 0;
    std::string path, text;
  };
  const std::vector<Damaged>& damaged() const { return damaged_; }
  static constexpr std::size_t kDamagedListed = 20;
  std::int64_t usable_samples() const { return usable_; }  // of inspected shards, selected or not

  std::int64_t range_count() const { return static_cast<std::int64_t>(range_shard_.size()); }
  Range range(std::int64_t index) const;
  std::int64_t range_at(std::int64_t shard, std::int64_t first) const;  // index; -1 when there is none
  std::int64_t first_range(std::int64_t shard) const { return at(shard).first_range; }
  std::int64_t ranges_of(std::int64_t shard) const;

  jobs::ShardRef shard_ref(std::int64_t shard) const;

  // "12 no_caption, 3 truncated"
  static std::string listed(const std::map<std::string, std::int64_t>& counts);

 private:
  struct Shard {
    std::uint64_t path_at = 0, bytes = 0, identity = 0;
    std::array<unsigned char, 32> sha256{};
    std::int64_t samples = -1;  // -1: not inspected
    std::int64_t selected_first = 0, selected_count = -1;
    std::uint32_t path_length = 0, source = 0;
    std::int64_t first_range = -1;
    jobs::DataFormat format = jobs::DataFormat::kUnset;
  };
  const Shard& at(std::int64_t shard) const { return shards_[static_cast<std::size_t>(shard)]; }
  void cut(std::int64_t shard, std::int64_t before, std::vector<std::int64_t>& fresh);
  void note_damage(const std::string& path, const jobs::ShardSummary& summary);
  void check_totals() const;
  void check_reading(std::int64_t shard, const std::string& path, const jobs::ShardSummary& summary) const;

  std::string name_;
  jobs::DataSpec spec_;
  jobs::Selection selection_;
  std::int64_t task_samples_;
  std::vector<Shard> shards_;
  std::string paths_;
  std::vector<std::uint32_t> range_shard_;
  std::int64_t inspected_ = 0, frontier_ = 0, before_frontier_ = 0, usable_ = 0;
  std::map<std::string, std::int64_t> bad_, seen_;
  std::map<std::int64_t, std::string> readings_;  // of the shards that have one
  std::string advice_;                            // the first shard's
  std::int64_t classes_ = 0;
  std::vector<Damaged> damaged_;
};

}  // namespace trireme::coordinator::planner

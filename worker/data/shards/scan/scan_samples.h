// Groups of members become the samples of an index, each group ending in kept, bad (by reason) or no data.
// The sum over all members is checked.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "jobs/specification/data_spec.h"
#include "worker/data/shards/caption_text.h"
#include "worker/data/shards/scan/joined_rows.h"
#include "worker/data/shards/scan/sample_groups.h"
#include "worker/data/shards/shard_index.h"
#include "worker/data/shards/shard_reader.h"

namespace trireme::worker::data {

// Where the members of a tar or the files of a folder lie.
struct MemberPlaces {
  // The bytes of a member; backed by `storage` where they have to be read first.
  std::function<std::string_view(std::int32_t member, std::string& storage)> bytes;
  // What the index says of a picture: its range in the tar, or its path in the pool.
  std::function<IndexRange(std::int32_t member)> range;
  std::int64_t label = -1;  // of every sample: a class folder
};

// How the texts of a source are read.
enum class TextForm { kWhole, kLines, kField, kNone };
TextForm text_form(const jobs::SourceSpec& source, bool lines);

class SampleScan {
 public:
  SampleScan(const jobs::SourceSpec& source, TextForm form, const MemberPlaces& places, ShardIndex& index,
             ShardScan& scan)
      : source_(source), form_(form), places_(places), index_(index), scan_(scan) {}

  // Rows that SourceSpec::parquet gives for these samples of `shard`; they must cover all that are kept.
  void join_columns(const io::Path& shard, const std::vector<SampleGroup>& found);

  // `cut_short`: the last group may be half of a sample, and is not blamed for that. Throws kInternal when
  // the members do not add up, kInvalid when rows that were to be joined do not cover the samples.
  void take(const SampleGroups& groups, std::vector<SampleGroup> found, bool cut_short);

 private:
  void judge(const SampleGroups& groups, const SampleGroup& group);

  CaptionText texts_of(const SampleGroup& group, std::string_view json);
  std::string_view json_of(const SampleGroup& group, std::string& storage);
  void blame(const SampleGroups& groups, const SampleGroup& group, const std::string& reason);

  const jobs::SourceSpec& source_;
  TextForm form_;
  const MemberPlaces& places_;
  ShardIndex& index_;
  ShardScan& scan_;
  std::optional<JoinedRows> rows_;
  std::unordered_set<std::string> seen_;
  std::int64_t looked_up_ = 0;  // samples that asked the parquet for their row
  std::int64_t unjoined_ = 0;
  std::string first_unjoined_;
  std::string joined_;  // backs json_of()
};

void note(const CaptionText& text, ShardScan& scan);

// Decimal, zero-based; -1 when it is not one.
std::int64_t parse_label(std::string_view text);

// What can be known of the causes of `scan.bad` and of an empty result, with the way on; "" when nothing is.
std::string scan_advice(const jobs::SourceSpec& source, const SampleGroups& groups,
                        const std::vector<SampleGroup>& found, const MemberPlaces& places,
                        const ShardScan& scan);

// ShardScan::reading of an index whose samples version 1 did not read, or not so.
std::string reading_of(const ShardIndex& index);

}  // namespace trireme::worker::data

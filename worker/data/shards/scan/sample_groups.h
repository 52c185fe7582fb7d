// Members of a tar, or files of a folder, become samples: those with one key belong together, wherever they
// lie (webdataset wants them adjacent; a group that is not is counted as joined). Every member ends in a
// group or in a count. Single-threaded.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "jobs/layouts/sample_parts.h"
#include "jobs/specification/data_spec.h"

namespace trireme::worker::data {

struct SampleGroup {
  static constexpr std::int32_t kNone = -1;
  std::string key;
  std::int32_t image = kNone, text = kNone, json = kNone, label = kNone;  // positions of members, as added
  std::int32_t first = kNone;                                             // its first member
  std::size_t image_rank = jobs::kNoImageRank;
  std::int64_t members = 0;
  bool other_image = false;             // a picture of a kind that is not read (.gif …)
  std::int64_t odd_images = 0;          // pictures under other suffixes ("input.jpg")
  bool joined = false;                  // its members are not adjacent
  bool inner_dot = false;               // by the last dot: the first-dot rule has another key
  std::vector<std::uint16_t> suffixes;  // of its members, in suffix_names()

  bool is_sample() const {
    return image != kNone || text != kNone || label != kNone || other_image || odd_images > 0;
  }
};

class SampleGroups {
 public:
  // `json_is_text`: a .json alone makes a picture a sample.
  SampleGroups(const jobs::SourceSpec& source, bool json_is_text);

  // Positions count from 0; leftovers take one, too. `linked`: version 1 did not read it.
  void add(std::string name, bool linked = false);

  // Joins everything that was added; in the order of first members.
  std::vector<SampleGroup> finish();

  const std::string& name(std::int32_t member) const { return names_[static_cast<std::size_t>(member)]; }
  const std::vector<std::string>& suffix_names() const { return suffixes_; }
  std::int64_t members() const { return static_cast<std::int64_t>(names_.size()); }
  std::int64_t hidden() const { return hidden_; }      // leftovers
  std::int64_t nameless() const { return nameless_; }  // without key or suffix
  jobs::KeyRule rule() const { return rule_; }         // that finish() chose
  // No leftover had a name that version 1 read, and no member was a hard link.
  bool hidden_as_before() const { return !hid_sample_ && linked_ == 0; }
  std::int64_t linked() const { return linked_; }

 private:
  std::vector<SampleGroup> group(jobs::KeyRule rule);
  void put(SampleGroup& group, std::int32_t member, const std::string& suffix);
  std::uint16_t suffix_id(const std::string& suffix);

  const jobs::SourceSpec& source_;
  bool json_is_text_;
  std::vector<std::string> names_;
  std::vector<bool> leftover_;
  std::vector<std::string> suffixes_;
  std::unordered_map<std::string, std::uint16_t> suffix_ids_;
  std::int64_t hidden_ = 0, nameless_ = 0, linked_ = 0;
  bool hid_sample_ = false;
  jobs::KeyRule rule_ = jobs::KeyRule::kFirstDot;
};

}  // namespace trireme::worker::data

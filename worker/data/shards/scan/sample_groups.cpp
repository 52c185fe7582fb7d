#include "worker/data/shards/scan/sample_groups.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "jobs/layouts/leftover.h"

namespace trireme::worker::data {
namespace {

constexpr std::size_t kMostSuffixes = 60000;  // a name may make its own: "20 (edit).jpg"

}  // namespace

SampleGroups::SampleGroups(const jobs::SourceSpec& source, bool json_is_text)
    : source_(source), json_is_text_(json_is_text) {}

void SampleGroups::add(std::string name, bool linked) {
  linked_ += linked ? 1 : 0;
  const bool leftover = jobs::is_leftover(name);
  jobs::MemberName split;
  if (leftover) {
    ++hidden_;
    hid_sample_ = hid_sample_ || jobs::split_member(name, jobs::KeyRule::kFirstDot, split);
  }
  leftover_.push_back(leftover);
  names_.push_back(std::move(name));
}

std::uint16_t SampleGroups::suffix_id(const std::string& suffix) {
  const auto found = suffix_ids_.find(suffix);
  if (found != suffix_ids_.end()) return found->second;
  if (suffixes_.size() >= kMostSuffixes) return static_cast<std::uint16_t>(kMostSuffixes);
  const auto id = static_cast<std::uint16_t>(suffixes_.size());
  suffixes_.push_back(suffix);
  suffix_ids_.emplace(suffix, id);
  return id;
}

void SampleGroups::put(SampleGroup& group, std::int32_t member, const std::string& suffix) {
  const std::size_t rank = jobs::image_rank(suffix, source_);
  if (rank != jobs::kNoImageRank) {
    if (rank < group.image_rank) {
      group.image = member;
      group.image_rank = rank;
    }
  } else if (jobs::is_text_suffix(suffix, source_)) {
    group.text = member;
  } else if (suffix == "json") {
    group.json = member;
    if (json_is_text_) group.text = member;
  } else if (suffix == "cls") {
    group.label = member;
  } else {
    const std::string_view last = jobs::last_suffix(suffix);
    group.other_image = group.other_image || jobs::is_other_image_suffix(suffix);
    if (jobs::is_image_suffix(last) || (last.size() < suffix.size() && jobs::is_other_image_suffix(last)))
      ++group.odd_images;
  }
  ++group.members;
  group.suffixes.push_back(suffix_id(suffix));
}

std::vector<SampleGroup> SampleGroups::group(jobs::KeyRule rule) {
  std::vector<SampleGroup> groups;
  std::unordered_map<std::string, std::size_t> last_of_key;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    jobs::MemberName split;
    if (leftover_[i]) continue;
    if (!jobs::split_member(names_[i], rule, split)) {
      ++nameless_;
      continue;
    }
    const std::uint16_t id = suffix_id(split.suffix);
    std::size_t at = groups.size();
    if (!groups.empty() && groups.back().key == split.key)
      at = groups.size() - 1;
    else if (const auto known = last_of_key.find(std::string(split.key)); known != last_of_key.end())
      at = known->second;
    if (at < groups.size() && std::ranges::find(groups[at].suffixes, id) != groups[at].suffixes.end())
      at = groups.size();  // the same part again: another sample of that name
    if (at == groups.size()) {
      groups.emplace_back();
      groups.back().key = std::string(split.key);
      groups.back().first = static_cast<std::int32_t>(i);
      groups.back().inner_dot = rule == jobs::KeyRule::kLastDot && jobs::has_inner_dot(names_[i]);
      last_of_key[groups.back().key] = at;
    }
    groups[at].joined = groups[at].joined || at + 1 != groups.size();
    put(groups[at], static_cast<std::int32_t>(i), split.suffix);
  }
  return groups;
}

std::vector<SampleGroup> SampleGroups::finish() {
  rule_ = jobs::key_rule(names_, source_);
  auto groups = group(rule_);
  if (rule_ == jobs::KeyRule::kFirstDot || source_.key == jobs::SampleKey::kLastDot) return groups;
  // By the last dot "a.seg.png" is a picture without text; where "a" is a sample it is a further part of it.
  const auto whole = [&](const SampleGroup& one) {
    return one.image != SampleGroup::kNone &&
           (jobs::picture_is_enough(source_) || one.text != SampleGroup::kNone ||
            one.label != SampleGroup::kNone);
  };
  std::unordered_map<std::string_view, std::size_t> samples;
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (whole(groups[i])) samples.emplace(groups[i].key, i);
  std::vector<bool> further(groups.size());
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (!groups[i].inner_dot || whole(groups[i])) continue;
    const std::string_view key = groups[i].key;
    const auto owner = samples.find(key.substr(0, key.find('.', key.rfind('/') + 1)));
    if (owner == samples.end()) continue;
    groups[owner->second].members += groups[i].members;
    further[i] = true;
  }
  std::vector<SampleGroup> kept;
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (!further[i]) kept.push_back(std::move(groups[i]));
  return kept;
}

}  // namespace trireme::worker::data

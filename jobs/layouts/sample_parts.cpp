#include "jobs/layouts/sample_parts.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "jobs/layouts/leftover.h"

namespace trireme::jobs {
namespace {

enum Part : unsigned { kNothing = 0, kImage = 1, kText = 2 };

unsigned part_of(const std::string& suffix, const SourceSpec& source) {
  if (image_rank(suffix, source) != kNoImageRank) return kImage;
  const bool text = is_text_suffix(suffix, source) || suffix == "cls" ||
                    (!source.caption_field.empty() && suffix == "json");
  return text ? kText : kNothing;
}

std::int64_t whole_samples(const std::vector<std::string>& names, KeyRule rule, const SourceSpec& source) {
  std::unordered_map<std::string_view, unsigned> parts;
  for (const auto& name : names)
    if (MemberName split; split_member(name, rule, split) && !is_leftover(name))
      parts[split.key] |= part_of(split.suffix, source);
  const unsigned needed = picture_is_enough(source) ? kImage : kImage | kText;
  return std::count_if(parts.begin(), parts.end(),
                       [&](const auto& one) { return (one.second & needed) == needed; });
}

}  // namespace

std::size_t image_rank(const std::string& suffix, const SourceSpec& source) {
  if (!source.image_member.empty()) return suffix == lower_case(source.image_member) ? 0 : kNoImageRank;
  return image_suffix_rank(suffix).value_or(kNoImageRank);
}

bool is_text_suffix(const std::string& suffix, const SourceSpec& source) {
  return suffix == (source.text_member.empty() ? "txt" : lower_case(source.text_member));
}

bool picture_is_enough(const SourceSpec& source) {
  return source.captions == CaptionForm::kNone || (!source.parquet.empty() && !source.caption_field.empty());
}

KeyRule key_rule(const std::vector<std::string>& names, const SourceSpec& source) {
  const auto dotted = [](const std::string& suffix) { return suffix.find('.') != std::string::npos; };
  if (source.key == SampleKey::kLastDot) return KeyRule::kLastDot;
  if (source.key == SampleKey::kFirstDot || dotted(source.image_member) || dotted(source.text_member) ||
      std::none_of(names.begin(), names.end(), has_inner_dot))
    return KeyRule::kFirstDot;
  return whole_samples(names, KeyRule::kLastDot, source) > whole_samples(names, KeyRule::kFirstDot, source)
             ? KeyRule::kLastDot
             : KeyRule::kFirstDot;
}

}  // namespace trireme::jobs

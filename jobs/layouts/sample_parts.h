// Which part of a sample a suffix stands for, and by which dot names are taken apart: one rule for the
// planner, which shows it, and the scan, which follows it.
#pragma once

#include <string>
#include <vector>

#include "jobs/layouts/member_name.h"
#include "jobs/specification/data_spec.h"
#include "jobs/specification/image_suffix.h"

namespace trireme::jobs {

inline constexpr std::size_t kNoImageRank = kImageSuffixes.size();

// 0 is the best picture of a sample, kNoImageRank none. `suffix`: lower case.
std::size_t image_rank(const std::string& suffix, const SourceSpec& source);
bool is_text_suffix(const std::string& suffix, const SourceSpec& source);

// Whether a picture is a sample without a part that holds its text: photographs, captions in parquet.
bool picture_is_enough(const SourceSpec& source);

// SourceSpec::key; "auto": the last dot where that makes more samples whole than the first (a picture and a
// text, .cls, or with caption_field a .json; with captions "none" a picture).
KeyRule key_rule(const std::vector<std::string>& names, const SourceSpec& source);

}  // namespace trireme::jobs

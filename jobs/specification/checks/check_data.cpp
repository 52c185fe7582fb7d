#include "jobs/specification/checks/check_data.h"

#include <string>

#include "common/base/error.h"
#include "jobs/specification/checks/check_unread.h"
#include "jobs/specification/json/names.h"
#include "jobs/specification/prompt_template.h"

namespace trireme::jobs {
namespace {

void check_synthetic(const SyntheticSpec& s, const std::string& pointer, std::vector<SpecFault>& faults) {
  if (s.samples < s.shards)
    add_fault(faults, {pointer + "/shards", "invalid", "more shards than samples", ""});
  const double noise = s.swapped + s.boilerplate + s.duplicate + s.near_duplicate + s.tiny + s.stretched +
                       s.foreign + s.drawn_text;
  if (noise > 1 + 1e-9)
    add_fault(faults, {pointer, "invalid", "the shares of noise add up to more than 1", "they are disjoint"});
}

}  // namespace

void check_data(const DataSpec& data, const std::string& pointer, std::vector<SpecFault>& faults) {
  check_unread(data, pointer, faults);
  for (std::size_t i = 0; i < data.sources.size(); ++i) {
    const SourceSpec& source = data.sources[i];
    const std::string at = pointer + "/sources/" + std::to_string(i);
    if (source.path.empty() && !source.synthetic)
      add_fault(faults, {at + "/path", "missing", "a source has a path or synthetic", ""});
    if (!source.path.empty() && source.synthetic)
      add_fault(faults, {at + "/synthetic", "invalid", "a source has a path or synthetic, not both", ""});
    if (source.layout != DataFormat::kUnset && source.format != DataFormat::kAuto &&
        source.layout != source.format)
      add_fault(faults, {at + "/layout", "invalid", "layout and format say different things",
                         "they are one setting with two names: leave one out"});
    if (source.captions == CaptionForm::kNone && !source.caption_field.empty())
      add_fault(faults, {at + "/caption_field", "invalid", "captions \"none\" reads no captions",
                         "leave one of the two out"});
    if (source.synthetic) check_synthetic(*source.synthetic, at + "/synthetic", faults);
  }
  try {
    parse_selection(data.select);
  } catch (const Error& error) {
    add_fault(faults, {pointer + "/select", "invalid", error.what(), ""});
  }
  for (std::size_t i = 0; i < data.classes.size(); ++i)
    if (data.classes[i].empty())
      add_fault(faults, {pointer + "/classes/" + std::to_string(i), "invalid", "an empty class name", ""});
  for (std::size_t i = 0; i < data.caption_templates.size(); ++i)
    if (!has_class_place(data.caption_templates[i]))
      add_fault(faults, {pointer + "/caption_templates/" + std::to_string(i), "invalid",
                         "the template does not hold {c}", "{c} or {} stands for the class name"});
}

}  // namespace trireme::jobs

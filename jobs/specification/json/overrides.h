// `--set path=value`: changes the document before it is checked. The path has dots; a list entry is named by
// its number or, for stages, by its name: spec.stages.train.epochs=3. Missing objects are made. The value is
// JSON where it parses as such, else a string.
#pragma once

#include <string>
#include <vector>

#include "jobs/specification/json/json_document.h"

namespace trireme::jobs {

void apply_overrides(Json& root, const std::vector<std::string>& overrides, std::vector<SpecFault>& faults);

}  // namespace trireme::jobs

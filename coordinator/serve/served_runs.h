// The runs whose indexes a service serves: what they are called in addresses, and where their manifests lie.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::coordinator::serve {

// Of a run folder that holds index/, or of an index folder; where it would lie when there is none.
io::Path manifest_of(const io::Path& run);

// Absolute paths by name: the folder's, in letters that an address may have. Throws kNotFound for a run
// without an index, kUsage for two of one name.
std::map<std::string, std::string> named_runs(const std::vector<std::string>& runs);

}  // namespace trireme::coordinator::serve

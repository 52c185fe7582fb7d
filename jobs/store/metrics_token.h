// The bearer token that a scrape of coordinator and workers must bring, where the run has one.
#pragma once

#include <string>

#include "common/io/file_system.h"

namespace trireme::store {

// The first line of `file`; "" for no file (""). Throws kNotFound, and kInvalid for a file that everybody may
// read, or whose line is shorter than 16 characters or has others than letters, digits and "-._~+/=".
std::string read_metrics_token(const std::string& file);

}  // namespace trireme::store

// What `trireme describe` shows of one job.
#pragma once

#include <string>
#include <string_view>

namespace trireme::coordinator::cli {

// `document`: the job document of the API. Names the workers that are slow, and what is in quarantine. Throws
// kDamaged when it is no JSON object.
std::string job_text(std::string_view document);

}  // namespace trireme::coordinator::cli

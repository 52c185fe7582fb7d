// One thing that is wrong with a job file.
#pragma once

#include <string>

namespace trireme::jobs {

struct SpecFault {
  std::string pointer;  // JSON pointer of the offending value, "" for the document
  std::string code;     // "syntax", "duplicate_key", "unknown_key", "wrong_type", "out_of_range", "missing",
                     // "unknown_name", "unused", "too_large", "too_deep", "bad_string", "override", "invalid"
  std::string detail;  // what is wrong
  std::string hint;    // what to do, the nearest known name; may be empty
};

}  // namespace trireme::jobs

// How a struct of the job file describes itself once, for reading, defaults, range checks, the JSON Schema
// and printing:
//
//   struct AugmentSpec {
//     double scale_min = 0.9;
//     template <class Visitor> void visit(Visitor& v) {
//       v.field("scale_min", scale_min, {.help = "smallest share of the image area that a crop keeps", .least
//       = 0.01, .most = 1});
//     }
//   };
//
// The member's initial value is the default. std::optional<T>: absent or null. Members may be bool,
// std::int64_t, double, std::string, enums with names (common/base/enum_names.h), nested structs with
// visit(), and vector / map<string, …> of those. Unknown keys are faults.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "common/base/enum_names.h"

namespace trireme::jobs {

struct FieldRules {
  const char* help = "";
  double least =
      -std::numeric_limits<double>::infinity();  // numbers: inclusive range; strings and lists: of the length
  double most = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices = {};  // strings: the values allowed; enums: when not all of them are
  bool required = false;
  bool quiet =
      false;  // not written while null, false, empty or "auto", so that it changes nothing of older jobs
  // Why nothing reads the field beside the other values of its struct, null where something does. A value
  // that is not the default is then refused with this reason (checks/check_unread.h).
  const char* unread = nullptr;
  // Came after stores had been written: no part of an address while it has its default.
  bool added = false;
};

// For FieldRules::unread.
constexpr const char* unless(bool read, const char* why) {
  return read ? nullptr : why;
}

}  // namespace trireme::jobs

// Errors as application/problem+json (RFC 9457).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/http/messages.h"

namespace trireme::http {

// One fault of a document that was sent: where, what and what to do.
struct Fault {
  std::string pointer, code, detail, hint;
};

Response problem(int status, const std::string& detail, const std::string& request_id,
                 const std::vector<Fault>& faults = {});
int status_of(ErrorKind kind);
std::string_view title_of(int status);

}  // namespace trireme::http

#include "common/base/error.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace trireme {
namespace {
struct KindRow {
  ErrorKind kind;
  std::string_view name;
  int exit_code;
};
constexpr std::array<KindRow, 11> kKinds{{{ErrorKind::kUsage, "usage", 2},
                                          {ErrorKind::kInvalid, "invalid", 2},
                                          {ErrorKind::kNotFound, "not_found", 3},
                                          {ErrorKind::kConflict, "conflict", 4},
                                          {ErrorKind::kUnauthorised, "unauthorised", 5},
                                          {ErrorKind::kDamaged, "damaged", 65},
                                          {ErrorKind::kUnavailable, "unavailable", 69},
                                          {ErrorKind::kTryAgain, "try_again", 75},
                                          {ErrorKind::kDiskFull, "disk_full", 75},
                                          {ErrorKind::kCancelled, "cancelled", 1},
                                          {ErrorKind::kInternal, "internal", 1}}};
}  // namespace

Error::Error(ErrorKind kind, const std::string& what_happened, const std::string& hint)
    : std::runtime_error(hint.empty() ? what_happened : what_happened + " (" + hint + ")"), kind_(kind) {}

int exit_code(ErrorKind kind) {
  for (const auto& row : kKinds)
    if (row.kind == kind) return row.exit_code;
  return 1;
}

std::string_view name_of(ErrorKind kind) {
  for (const auto& row : kKinds)
    if (row.kind == kind) return row.name;
  return "internal";
}

ErrorKind error_kind_from_name(std::string_view name) {
  for (const auto& row : kKinds)
    if (row.name == name) return row.kind;
  throw Error(ErrorKind::kInternal, "unknown error kind '" + std::string(name) + "'");
}

Error system_error(const std::string& what_happened, int error_number) {
  ErrorKind kind = ErrorKind::kInternal;
  std::string hint;
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      kind = ErrorKind::kNotFound;
      hint = "check the path";
      break;
    case ENOSPC:
    case EDQUOT:
      kind = ErrorKind::kDiskFull;
      hint = "free some disk space, then start again: what was committed is kept";
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      kind = ErrorKind::kInvalid;
      hint = "check the permissions";
      break;
    case EADDRINUSE:
      kind = ErrorKind::kConflict;
      hint = "choose another port";
      break;
    default:
      break;
  }
  return Error(kind, what_happened + ": " + std::strerror(error_number), hint);
}

}  // namespace trireme

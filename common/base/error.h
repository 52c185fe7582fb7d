// Errors that say what to do next. Kinds are what a caller can act on; the message names file, field, rank or
// sample. Expected outcomes are return values; damaged data is counted and reported, not thrown. Libraries
// never exit.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace trireme {

enum class ErrorKind {
  kUsage,         // the command line is off
  kInvalid,       // a spec, a file or a value that can never work as it is
  kNotFound,      // a file, job or stage that is not there
  kConflict,      // somebody else holds it, or its state forbids it
  kUnauthorised,  // token missing or wrong
  kDamaged,       // bytes that are not what was written
  kUnavailable,   // a peer, port or service cannot be reached
  kTryAgain,      // lost a process or a connection; the same call may go through
  kDiskFull,      // ENOSPC or quota
  kCancelled,     // somebody asked for it
  kInternal,      // a bug of ours
};

class Error : public std::runtime_error {
 public:
  // `what_happened` names the thing; `hint` (may be empty) says what to do about it.
  Error(ErrorKind kind, const std::string& what_happened, const std::string& hint = "");
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Process exit codes (README "Exit codes"): 0 ok, 1 job failed, 2 usage, 3 not found, 4 conflict, 5
// unauthorised, 65 damaged data, 69 unreachable, 75 try again, 93 do not requeue.
int exit_code(ErrorKind kind);

// "invalid", "not_found" …; the inverse throws kInternal on an unknown name.
std::string_view name_of(ErrorKind kind);
ErrorKind error_kind_from_name(std::string_view name);

// Error for a failed system call: maps ENOENT, ENOSPC, EACCES … to a kind and appends strerror.
Error system_error(const std::string& what_happened, int error_number);

}  // namespace trireme

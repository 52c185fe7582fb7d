// The `trireme` command line: options of every command, and what each one calls.
#pragma once

namespace trireme::coordinator::cli {

// Returns the process's exit code (README "Exit codes"); errors go to stderr.
int run_command_line(int argument_count, char** arguments);

}  // namespace trireme::coordinator::cli

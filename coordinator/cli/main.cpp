#include "coordinator/cli/commands.h"

int main(int argument_count, char** arguments) {
  return trireme::coordinator::cli::run_command_line(argument_count, arguments);
}

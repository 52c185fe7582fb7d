#include "coordinator/cli/plan_command.h"

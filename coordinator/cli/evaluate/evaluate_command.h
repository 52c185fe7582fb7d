// `trireme evaluate MODEL DATA…`: the short form of a job of evaluate stages. The same command goes on where
// it was stopped.
#pragma once

#include <string>
#include <vector>

#include "coordinator/cli/launch/launch_command.h"

namespace trireme::coordinator::cli {

struct EvaluateOptions {
  std::string model, suite, task = "auto", output;  // output: "" for runs/evaluate-<model>
  std::vector<std::string> data, against, also;     // also: further models
  LaunchOptions fleet;                              // its job is set here
};

// Writes <output>/evaluate.job.json, runs it, and leaves evaluation.results.json, evaluation.csv and
// evaluation.html there. Exit code of the run.
int evaluate(const EvaluateOptions& options);

}  // namespace trireme::coordinator::cli

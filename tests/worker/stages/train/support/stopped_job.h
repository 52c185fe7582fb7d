// A tiny job on two ranks that is asked after step 5 to write a checkpoint and to stop.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "common/base/error.h"
#include "tests/worker/stages/train/support/tiny_job.h"

namespace trireme::worker::stages::train {

inline TinyJob::Outcome train_until_asked_to_stop(TinyJob& job, const std::string& run) {
  return job.train(run, 2, "", [](std::int64_t step, runtime::StopRequest& stop) {
    if (step == 5) stop.checkpoint_and_stop();
  });
}

// It wrote one, and no rank left before it was committed.
inline TinyJob::Outcome stop_with_checkpoint(TinyJob& job, const std::string& run) {
  auto stopped = train_until_asked_to_stop(job, run);
  EXPECT_EQ(stopped.error_kind, ErrorKind::kCancelled) << stopped.error;
  EXPECT_NE(stopped.error.find("with a checkpoint"), std::string::npos) << stopped.error;
  EXPECT_EQ(stopped.checkpoints.size(), 1U);
  for (const auto step : stopped.committed_at_exit) EXPECT_GE(step, 5) << "a rank left before the commit";
  return stopped;
}

}  // namespace trireme::worker::stages::train

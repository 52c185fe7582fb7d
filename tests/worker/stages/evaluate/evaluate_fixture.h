// A task of an evaluate stage on data set "test", with settings to change.
#pragma once

#include "tests/worker/stages/support/stage_fixture.h"

namespace trireme::worker::stages::evaluate {

class EvaluateFixture : public testing::StageTest {
 protected:
  EvaluateFixture() {
    task_.stage = "evaluate";
    task_.output = out("evaluate", "");
    task_.data = jobs::data_json(testing::test_data());
    settings_.data = "test";
    settings_.model = "train";
    settings_.recall_k = {1, 2};
  }

  jobs::Task task_;
  jobs::EvaluateSettings settings_;
};

}  // namespace trireme::worker::stages::evaluate

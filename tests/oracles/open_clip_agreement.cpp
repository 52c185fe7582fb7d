// How far folders that open_clip_table.py wrote are from what open_clip computes: one line of JSON per
// folder.
//   open_clip_agreement --config FOLDER…   what their configs are refused for
//   open_clip_agreement FOLDER…            differences too
#include <iostream>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "jobs/checkpoint/checkpoint_config.h"
#include "tests/support/open_clip_agreement.h"

int main(int argc, char** argv) {
  const bool config = argc > 1 && std::string(argv[1]) == "--config";
  for (int i = config ? 2 : 1; i < argc; ++i) {
    nlohmann::json out{{"folder", argv[i]}};
    try {
      if (config) {
        for (const auto& one :
             trireme::jobs::read_checkpoint_config(std::string(argv[i]) + "/model.safetensors").refusals)
          out["refused"].push_back(one.what);
      } else {
        const auto found = trireme::testing::agreement_with(argv[i]);
        if (!found.refused.empty()) out["refused"] = found.refused;
        out["image"] = found.image;
        out["text"] = found.text;
      }
    } catch (const std::exception& error) {
      out["refused"].push_back(error.what());
    }
    std::cout << out.dump() << std::endl;
  }
}

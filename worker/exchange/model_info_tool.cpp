#include "worker/exchange/model_info_tool.h"

#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "jobs/specification/job_spec.h"
#include "jobs/store/published.h"
#include "worker/models/dual_encoder.h"
#include "worker/models/model_cost.h"

namespace trireme::worker::exchange {
namespace {

std::string answer(const std::string& line) {
  const jobs::ModelSpec spec = jobs::model_from_json(line);
  const auto& tokenizer = spec.text.tokenizer;
  if (const std::string stage = jobs::vocabulary_stage(tokenizer); !stage.empty())
    throw Error(ErrorKind::kNotFound,
                "parameters are known when stage '" + stage + "' has made the vocabulary");
  const auto vocabulary =
      models::tokenizer_of(tokenizer, tokenizer.kind == jobs::TokenizerKind::kHashedWords
                                          ? ""
                                          : jobs::resolve_vocabulary(tokenizer.vocabulary))
          ->vocabulary_size();
  std::string cost = models::cost_json(spec, models::model_cost(spec, vocabulary));
  try {
    models::check_named_weights(spec);
  } catch (const Error& error) {
    return nlohmann::json{{"fault", error.what()}}.dump(-1, ' ', false,
                                                        nlohmann::json::error_handler_t::replace);
  }
  return cost;
}

}  // namespace

int run_model_info(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    try {
      std::cout << answer(argv[i]) << "\n";
    } catch (const Error& error) {
      std::cout << nlohmann::json{{"error", error.what()}}.dump() << "\n";
    }
  }
  return 0;
}

}  // namespace trireme::worker::exchange

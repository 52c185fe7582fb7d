// `trireme-worker tool model-info`: a model specification on standard input, one line of JSON out:
// parameters, FLOPs and activation memory (worker/models/model_cost.h). What `trireme plan` asks for each
// model.
#pragma once

namespace trireme::worker::exchange {

// argv[0] is the tool's name. A model that cannot be built is answered {"error": "…"}.
int run_model_info(int argc, char** argv);

}  // namespace trireme::worker::exchange

// `trireme filter RUN --explain KEY`: one sample's story in every filter stage of a run: what was measured,
// the verdict, each rule that dropped it with its evidence. Reads <RUN>/stages/*/outputs.jsonl and the files
// they name.
#pragma once

#include <ostream>
#include <string>

namespace trireme::coordinator::cli {

// `stage`: only that one, "" for all. Throws kNotFound when no filter stage of the run knows the key.
int explain_sample(const std::string& run, const std::string& key, const std::string& stage, bool json,
                   std::ostream& out);

}  // namespace trireme::coordinator::cli

// A sample's .json, or a JSON line of a table, as a document.
#pragma once

#include <string>
#include <string_view>

#include <simdjson.h>

namespace trireme::worker::data {

// False for what cannot be read or is longer than 1 MiB; what Python writes and JSON does not know is null
// (jobs/layouts/readable_json.h). `root` is valid until the thread parses again.
bool parse_sample_json(std::string_view json, simdjson::dom::element& root);

// "" of an object that can be read, else why nothing is read from it: "it is an array, no object".
std::string json_fault(std::string_view json);

}  // namespace trireme::worker::data

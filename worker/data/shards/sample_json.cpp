#include "worker/data/shards/sample_json.h"

#include <string>

#include "jobs/layouts/readable_json.h"

namespace trireme::worker::data {
namespace {

constexpr std::size_t kJsonLimitBytes = std::size_t{1} << 20;

simdjson::error_code parse(std::string_view json, simdjson::dom::element& root) {
  thread_local simdjson::dom::parser parser;
  const auto error = parser.parse(json.data(), json.size(), /*realloc_if_needed=*/true).get(root);
  if (error == simdjson::SUCCESS) return error;
  const std::string readable = jobs::readable_json(std::string(json));
  return readable == json ? error : parser.parse(readable).get(root);
}

}  // namespace

bool parse_sample_json(std::string_view json, simdjson::dom::element& root) {
  return !json.empty() && json.size() <= kJsonLimitBytes && parse(json, root) == simdjson::SUCCESS;
}

std::string json_fault(std::string_view json) {
  if (json.empty()) return "it is empty";
  if (json.size() > kJsonLimitBytes) return "it is longer than 1 MiB";
  simdjson::dom::element root;
  if (const auto error = parse(json, root); error != simdjson::SUCCESS)
    return std::string("it is no JSON (") + simdjson::error_message(error) + ")";
  return root.is_object() ? "" : root.is_array() ? "it is an array, no object" : "it is no object";
}

}  // namespace trireme::worker::data

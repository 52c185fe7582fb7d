#include "worker/data/shards/sample_json.h"

#include <string>

#include "jobs/layouts/readable_json.h"

namespace trireme::worker::data {
namespace {

constexpr std::size_t kJsonLimitBytes = std::size_t{1} << 20;

}  // namespace

bool parse_sample_json(std::string_view json, simdjson::dom::element& root) {
  thread_local simdjson::dom::parser parser;
  if (json.empty() || json.size() > kJsonLimitBytes) return false;
  if (parser.parse(json.data(), json.size(), /*realloc_if_needed=*/true).get(root) == simdjson::SUCCESS)
    return true;
  const std::string readable = jobs::readable_json(std::string(json));
  return readable != json && parser.parse(readable).get(root) == simdjson::SUCCESS;
}

bool is_json_object(std::string_view json) {
  simdjson::dom::element root;
  return parse_sample_json(json, root) && root.is_object();
}

}  // namespace trireme::worker::data

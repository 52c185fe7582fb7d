#include "jobs/protocol/house_rules.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"

namespace trireme::jobs {
namespace {
using nlohmann::json;
constexpr std::string_view kTag = "TRIREME-RULES ";  // no envelope begins so
}  // namespace

std::string encode_rules(const HouseRules& rules) {
  return std::string(kTag) + json{{"run", rules.run},
                                  {"incarnation", rules.incarnation},
                                  {"read", rules.read},
                                  {"write", rules.write},
                                  {"never", rules.never}}
                                 .dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<HouseRules> decode_rules(std::string_view bytes) {
  if (!bytes.starts_with(kTag)) return std::nullopt;
  try {
    const json document = json::parse(bytes.substr(kTag.size()));
    HouseRules rules;
    document.at("run").get_to(rules.run);
    document.at("incarnation").get_to(rules.incarnation);
    document.at("read").get_to(rules.read);
    document.at("write").get_to(rules.write);
    document.at("never").get_to(rules.never);
    return rules;
  } catch (const json::exception& failure) {
    throw Error(ErrorKind::kDamaged, std::string("house rules that cannot be read: ") + failure.what());
  }
}

}  // namespace trireme::jobs

#include "coordinator/ledger/result_json.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/hash.h"

namespace trireme::coordinator::ledger {

using nlohmann::json;

std::string result_json(const jobs::TaskDone& done) {
  json outputs = json::array();
  for (const auto& file : done.outputs)
    outputs.push_back(
        {{"name", file.name}, {"path", file.path}, {"bytes", file.bytes}, {"xxh3", io::hex(file.xxh3)}});
  return json{{"reused", done.reused},
              {"outputs", std::move(outputs)},
              {"counts", done.counts},
              {"summary", done.summary},
              {"seconds", done.seconds}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

jobs::TaskDone result_from_json(std::string_view text, LeaseId lease) {
  try {
    const json document = json::parse(text);
    jobs::TaskDone done;
    done.lease = lease;
    done.reused = document.at("reused");
    for (const auto& file : document.at("outputs"))
      done.outputs.push_back({file.at("name"), file.at("path"), file.at("bytes"),
                              io::from_hex(file.at("xxh3").get_ref<const std::string&>())});
    done.counts = document.at("counts").get<std::map<std::string, std::int64_t>>();
    done.summary = document.at("summary");
    done.seconds = document.at("seconds");
    return done;
  } catch (const json::exception& failure) {
    throw Error(ErrorKind::kDamaged, "ledger: the result of lease " + std::to_string(lease.value) +
                                         " cannot be read: " + failure.what());
  }
}

}  // namespace trireme::coordinator::ledger

// What is known of a part of a SpreadIndex; its own sources alone include this.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "coordinator/serve/remote_service.h"
#include "coordinator/serve/spread_index.h"

namespace trireme::coordinator::serve {

[[noreturn]] void none_answers();  // throws kUnavailable

struct SpreadIndex::Part {
  RemoteService service;
  std::string index = {};                 // what it is called there
  nlohmann::ordered_json described = {};  // as it was last told; null before
  std::int64_t items = 0, base = 0;       // base: the row of its first item
  std::optional<bool> there = {};         // when it was last asked
  bool fits = false;                      // and is of the model of all
};

}  // namespace trireme::coordinator::serve

#include "jobs/store/checkpoint.h"

#include <cstdio>

namespace trireme::store {

std::string checkpoint_name(std::int64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "step-%08lld", static_cast<long long>(step));
  return text;
}

std::string checkpoint_aside_name(std::int64_t step, Incarnation incarnation) {
  return ".tmp-" + std::to_string(step) + "-" + std::to_string(incarnation.value);
}

bool is_checkpoint_aside_name(const std::string& name) {
  return name.starts_with(".tmp-");
}

}  // namespace trireme::store

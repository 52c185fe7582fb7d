// How a setting names one of a sample's own captions: "own:<n>", counted from 1.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace trireme::jobs {

// "own:3" -> 3; 0 where no such number stands behind "own:"; nothing of anything else.
inline std::optional<std::int64_t> own_caption(std::string_view value) {
  constexpr std::string_view kPrefix = "own:";
  if (!value.starts_with(kPrefix)) return std::nullopt;
  value.remove_prefix(kPrefix.size());
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
  return error == std::errc() && end == value.data() + value.size() && n >= 1 ? n : 0;
}

}  // namespace trireme::jobs

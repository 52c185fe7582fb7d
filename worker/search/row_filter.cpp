#include "worker/search/row_filter.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace trireme::worker::search {
namespace {

std::string digits(double number) {
  char text[40];
  const auto [end, failure] = std::to_chars(text, text + sizeof text, number);
  return {text, end};
}

bool holds(const Condition& condition, const Segment& segment, std::int64_t row) {
  const double number = segment.number(condition.column, row);
  const std::string_view text = segment.text(condition.column, row);
  const bool is_number = !std::isnan(number);
  if (!is_number && text.empty()) return condition.keep_missing;
  if (condition.least && !(is_number && number >= *condition.least)) return false;
  if (condition.most && !(is_number && number <= *condition.most)) return false;
  if (condition.one_of.empty() && condition.none_of.empty()) return true;
  const std::string value = is_number ? digits(number) : std::string(text);
  const auto lists = [&](const std::vector<std::string>& values) {
    return std::find(values.begin(), values.end(), value) != values.end();
  };
  return (condition.one_of.empty() || lists(condition.one_of)) && !lists(condition.none_of);
}

}  // namespace

std::vector<std::uint8_t> allowed_rows(const Segment& segment, const std::vector<Condition>& conditions) {
  std::vector<std::uint8_t> allowed(static_cast<std::size_t>(segment.size()), 1);
  for (std::int64_t row = 0; row < segment.size(); ++row)
    allowed[static_cast<std::size_t>(row)] =
        std::all_of(conditions.begin(), conditions.end(),
                    [&](const Condition& condition) { return holds(condition, segment, row); });
  return allowed;
}

}  // namespace trireme::worker::search

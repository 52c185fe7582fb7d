#include "jobs/layouts/member_name.h"

namespace trireme::jobs {

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return out;
}

std::string_view last_suffix(std::string_view suffix) {
  return suffix.substr(suffix.rfind('.') + 1);
}

bool split_member(std::string_view name, KeyRule rule, MemberName& out) {
  const auto base = name.rfind('/') + 1;  // npos + 1 is 0
  const auto dot = rule == KeyRule::kFirstDot ? name.find('.', base) : name.rfind('.');
  if (dot == std::string_view::npos || dot <= base) return false;
  out.key = name.substr(0, dot);
  out.suffix = lower_case(name.substr(dot + 1));
  return true;
}

bool has_inner_dot(std::string_view name) {
  const auto first = name.find('.', name.rfind('/') + 1);
  return first != std::string_view::npos && name.rfind('.') != first;
}

}  // namespace trireme::jobs

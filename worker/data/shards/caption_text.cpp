#include "worker/data/shards/caption_text.h"

#include <simdjson.h>

#include "jobs/layouts/line_list.h"

namespace trireme::worker::data {
namespace {

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// The longest prefix of at most `limit` bytes that does not split a UTF-8 character.
std::string_view cut(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text;
  std::size_t end = limit;
  while (end > 0 && limit - end < 4 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return text.substr(0, end);
}

void add(std::string_view raw, CaptionText& out) {
  const std::string_view text = trim(raw);
  if (text.empty()) return;
  const std::string_view kept = trim(cut(text, kCaptionLimitBytes));
  // UTF-16 without its mark is well-formed UTF-8 for half of the world: every other byte is 0.
  const bool zeros = kept.find('\0') != std::string_view::npos && !jobs::wide_encoding(raw).empty();
  if (zeros || !valid_utf8(kept)) {
    ++out.bad_text;
    return;
  }
  if (text.size() > kCaptionLimitBytes) ++out.long_caption;
  if (!kept.empty()) out.captions.emplace_back(kept);
}

}  // namespace

bool valid_utf8(std::string_view text) {
  return text.empty() || simdjson::validate_utf8(text.data(), text.size());
}

CaptionText read_caption(std::string_view raw) {
  CaptionText out;
  add(raw, out);
  return out;
}

CaptionText read_caption_lines(std::string_view raw) {
  CaptionText out;
  if (raw.size() > kCaptionFileLimitBytes) {
    raw = cut(raw, kCaptionFileLimitBytes);
    ++out.long_caption;
  }
  while (!raw.empty()) {
    const auto end = raw.find('\n');
    add(raw.substr(0, end), out);
    if (end == std::string_view::npos) break;
    raw.remove_prefix(end + 1);
  }
  return out;
}

}  // namespace trireme::worker::data

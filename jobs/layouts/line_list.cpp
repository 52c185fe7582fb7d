#include "jobs/layouts/line_list.h"

#include <algorithm>
#include <unordered_map>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "jobs/specification/prompt_template.h"

namespace trireme::jobs {
namespace {

constexpr std::string_view kBlank = " \t\v\f\r";

std::string_view trimmed(std::string_view line) {
  const auto first = line.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return line.substr(first, line.find_last_not_of(kBlank) - first + 1);
}

[[noreturn]] void refuse(const std::string& path, std::size_t line, const std::string& why,
                         const std::string& hint) {
  throw Error(ErrorKind::kInvalid, path + ":" + std::to_string(line) + ": " + why, hint);
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    const unsigned char lead = byte(i);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xC2 ? 0
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF5 ? 4
                                             : 0;
    if (length == 0 || text.size() - i < length) return false;
    for (std::size_t k = 1; k < length; ++k)
      if ((byte(i + k) & 0xC0U) != 0x80U) return false;
    if ((lead == 0xE0 && byte(i + 1) < 0xA0) || (lead == 0xED && byte(i + 1) > 0x9F) ||
        (lead == 0xF0 && byte(i + 1) < 0x90) || (lead == 0xF4 && byte(i + 1) > 0x8F))
      return false;
    i += length;
  }
  return true;
}

std::string wide_encoding(std::string_view text) {
  const std::string_view start = text.substr(0, 4);
  if (start.starts_with(std::string_view("\xFF\xFE\0\0", 4)) || start == std::string_view("\0\0\xFE\xFF", 4))
    return "UTF-32";
  if (start.starts_with("\xFF\xFE") || start.starts_with("\xFE\xFF")) return "UTF-16";
  const std::string_view head = text.substr(0, 512);
  const auto zeros = std::count(head.begin(), head.end(), '\0');
  return head.size() >= 8 && static_cast<std::size_t>(zeros) * 3 >= head.size() ? "UTF-16" : "";
}

void refuse_wide_text(std::string_view text, const std::string& path) {
  const std::string wide = wide_encoding(text);
  if (!wide.empty())
    throw Error(ErrorKind::kInvalid, path + " is " + wide + ", not UTF-8",
                "iconv -f " + wide + " -t UTF-8 writes it anew");
}

std::vector<std::string> parse_line_list(std::string_view text, const std::string& path, bool trim) {
  refuse_wide_text(text, path);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<std::string> lines;
  std::size_t filled = 0;  // lines up to the last that is not empty
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    while (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find('\r') != std::string_view::npos)
      refuse(path, lines.size() + 1, "a carriage return stands inside the line",
             "tr '\\r' '\\n' < FILE writes it anew, where lines end in carriage returns alone");
    if (trim) line = trimmed(line);
    if (!is_utf8(line))
      refuse(path, lines.size() + 1, "the line is not UTF-8: " + printable(line, 80),
             "iconv -f LATIN1 -t UTF-8 writes the file anew, when it is Latin-1");
    lines.emplace_back(line);
    if (!line.empty()) filled = lines.size();
    at = end + 1;
  }
  for (std::size_t i = 0; i < filled; ++i)
    if (lines[i].empty())
      refuse(path, i + 1, "the line is empty, and every line behind it has its meaning by its place",
             "write what belongs there, or take the line out");
  lines.resize(filled);
  return lines;
}

std::vector<std::string> read_line_list(const io::Path& path, bool trim, std::uint64_t limit_bytes) {
  return parse_line_list(io::read_file(path, limit_bytes), path.string(), trim);
}

std::string repeated_lines(const std::vector<std::string>& lines, const std::string& path) {
  std::unordered_map<std::string_view, std::size_t> first;
  std::string text;
  std::size_t more = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto [at, fresh] = first.emplace(lines[i], i);
    if (fresh) continue;
    if (text.empty())
      text = path + ": \"" + printable(lines[i], 80) + "\" stands in lines " +
             std::to_string(at->second + 1) + " and " + std::to_string(i + 1);
    else
      ++more;
  }
  return more == 0 ? text : text + ", and " + std::to_string(more) + " more lines stand twice";
}

namespace {

// "'tench'," or "lambda c: f'a photo of a {c}.',": a list as it stands in a program.
bool is_source_code(std::string_view line) {
  if (line.starts_with("lambda ")) return true;
  if (line.size() < 3 || (line[0] != '\'' && line[0] != '"')) return false;
  if (line.ends_with(',')) line.remove_suffix(1);
  return line.ends_with(line[0]);
}

// All of it, or a line with the list's comma behind it: "names = [" and "]" may stand around them.
void refuse_source_code(const std::vector<std::string>& lines, const std::string& path) {
  const auto found = std::ranges::find_if(lines, is_source_code);
  if (found == lines.end() || (!found->ends_with(',') && !std::ranges::all_of(lines, is_source_code))) return;
  refuse(path, static_cast<std::size_t>(found - lines.begin()) + 1,
         "the line is written as in the source of a program: " + printable(*found, 80),
         "write the text alone, without quotes and commas");
}

}  // namespace

io::Path file_near(const io::Path& shard, const char* name) {
  const io::Path beside = io::absolute(shard).parent_path();
  for (const io::Path& folder : {beside, beside.parent_path()})
    if (io::is_file(folder / name)) return folder / name;
  return {};
}

std::vector<std::string> class_names_near(const io::Path& shard) {
  const io::Path file = file_near(shard, kClassNamesFile);
  if (file.empty()) return {};
  std::vector<std::string> names = read_line_list(file);
  refuse_source_code(names, file.string());
  return names;
}

std::vector<std::string> class_templates_near(const io::Path& shard) {
  const io::Path file = file_near(shard, kTemplatesFile);
  if (file.empty()) return {};
  std::vector<std::string> templates = read_line_list(file);
  refuse_source_code(templates, file.string());
  for (std::size_t i = 0; i < templates.size(); ++i) {
    templates[i] = with_class_place(templates[i]);
    if (!has_class_place(templates[i]))
      refuse(file.string(), i + 1, "the prompt has no place for the class name", "write {c} or {} there");
  }
  return templates;
}

}  // namespace trireme::jobs

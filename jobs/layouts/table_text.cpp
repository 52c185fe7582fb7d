#include "jobs/layouts/table_text.h"

#include <algorithm>
#include <array>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/nearest_name.h"
#include "jobs/layouts/folder_listing.h"
#include "jobs/layouts/line_list.h"
#include "jobs/layouts/member_name.h"
#include "jobs/layouts/readable_json.h"
#include "jobs/specification/json/json_document.h"

namespace trireme::jobs {
namespace {

class Parser {
 public:
  Parser(std::string_view text, char separator) : text_(text), separator_(separator) {}

  std::vector<TableRow> run() {
    while (at_ < text_.size()) row();
    return std::move(rows_);
  }
  std::size_t open_quote() const { return open_quote_; }

 private:
  void row() {
    std::vector<std::string> fields;
    const std::size_t begin = at_, line = line_;
    bool any = false;
    do {
      const std::size_t before = at_;
      fields.push_back(field());
      any = any || at_ > before;
    } while (at_ < text_.size() && text_[at_] == separator_ && (++at_, any = true));
    if (at_ < text_.size() && text_[at_] == '\r') ++at_;
    if (at_ < text_.size() && text_[at_] == '\n') ++at_;
    line_ += static_cast<std::size_t>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(begin),
                                                 text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n'));
    if (any) rows_.push_back({line, std::move(fields)});
  }

  std::string field() { return at_ < text_.size() && text_[at_] == '"' ? quoted() : plain(); }

  bool ends_field(std::size_t at) const {
    return text_[at] == separator_ || text_[at] == '\n' ||
           (text_[at] == '\r' && at + 1 < text_.size() && text_[at + 1] == '\n');
  }

  std::string plain() {
    const std::size_t start = at_;
    while (at_ < text_.size() && !ends_field(at_)) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }

  std::string quoted() {
    std::string value;
    bool closed = false;
    const std::size_t begin = at_;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] != '"') {
        value += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        value += text_[++at_];
      } else {
        ++at_;
        closed = true;
        break;
      }
    }
    if (!closed)
      open_quote_ = 1 + static_cast<std::size_t>(std::count(
                            text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(begin), '\n'));
    return value + plain();  // what follows the closing quote, normally nothing
  }

  std::string_view text_;
  char separator_;
  std::size_t at_ = 0, line_ = 1, open_quote_ = 0;
  std::vector<TableRow> rows_;
};

using Names = std::vector<std::string>;

const Names kImageNames = {"filepath", "file_name", "filename", "image_path", "image", "path", "file"};
const Names kCaptionNames = {"title", "text", "caption", "captions", "description", "additional_feature"};
constexpr std::array<char, 4> kSeparators = {',', '\t', ';', '|'};
constexpr std::size_t kLongestLine = std::size_t{1} << 20;  // what a row's JSON may have, too

bool holds(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string_view first_line(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.find_first_not_of("\r\n"), text.size()));
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

// The keys of the first JSON line, once more for each time that one is repeated.
Names json_header(std::string_view line, const std::string& path) {
  std::vector<SpecFault> faults;
  const Json row = parse_json(readable_json(std::string(line)), faults, {.bytes = kLongestLine, .depth = 64});
  Names keys = row.keys;
  for (const SpecFault& fault : faults)
    if (fault.code == "duplicate_key" && fault.pointer.rfind('/') == 0)
      keys.push_back(fault.pointer.substr(1));
  if (!keys.empty()) return keys;
  throw Error(ErrorKind::kInvalid,
              "table " + path + ": its first line is no JSON object" +
                  (faults.empty() ? "" : " (" + printable(faults[0].detail, 200) + ")"),
              "a line is an object with the columns image_column and caption_column name");
}

Names header_of(std::string_view line, char separator, const std::string& path) {
  if (separator == 0) return json_header(line, path);
  std::size_t open_quote = 0;
  auto rows = parse_table(line, separator, open_quote);
  return rows.empty() ? Names() : rows[0].fields;
}

// The wished name, or with `usual` the first usual one that is there.
std::string found_column(const Names& header, const std::string& wish, const Names& usual, bool other_names) {
  if (holds(header, wish) || !other_names || !holds(usual, wish)) return wish;
  for (const std::string& name : usual)
    if (holds(header, name)) return name;
  return wish;
}

// What a header of one field tells when it holds a usual separator; "" else.
std::string other_separator(const Names& header) {
  if (header.size() != 1) return "";
  for (const char separator : kSeparators)
    if (header[0].find(separator) != std::string::npos)
      return "; its fields seem to be separated by " + separator_name(separator) +
             " (set separator of the source)";
  return "";
}

void need_column(const Names& header, const std::string& name, const std::string& path,
                 const std::string& setting) {
  if (holds(header, name)) return;
  std::string known;
  for (const std::string& one : header) known += (known.empty() ? "" : ", ") + one;
  if (std::any_of(header.begin(), header.end(), is_picture_name))
    throw Error(ErrorKind::kInvalid,
                "table " + path + " has no header: its first line names a picture (" + known + ")",
                "write a first line with the names of the columns, " + name + " among them");
  const std::string near = nearest_name(name, header);
  throw Error(
      ErrorKind::kInvalid, "table " + path + " has no column \"" + name + "\"; its columns are: " + known,
      "set " + setting + " of the source" + (near.empty() ? "" : ", perhaps to \"" + near + "\"") +
          other_separator(header) +
          (is_utf8(known) ? "" : "; the header is not UTF-8: iconv -f LATIN1 -t UTF-8 writes it anew"));
}

// Of two columns of one name nobody knows which one is meant.
void need_single(const Names& header, const std::string& name, const std::string& path) {
  if (std::count(header.begin(), header.end(), name) > 1)
    throw Error(ErrorKind::kInvalid,
                "table " + path + " has the column \"" + printable(name, 80) + "\" " +
                    std::to_string(std::count(header.begin(), header.end(), name)) + " times",
                "rename all but the one that is meant");
}

}  // namespace

std::vector<TableRow> parse_table(std::string_view text, char separator, std::size_t& open_quote) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  Parser parser(text, separator);
  auto rows = parser.run();
  open_quote = parser.open_quote();
  return rows;
}

bool is_json_lines_name(std::string_view path) {
  const std::string name = lower_case(path);
  return name.ends_with(".jsonl") || name.ends_with(".ndjson");
}

bool is_table_name(std::string_view path) {
  const std::string name = lower_case(path);
  return name.ends_with(".csv") || name.ends_with(".tsv") || is_json_lines_name(path);
}

std::string separator_name(char separator) {
  switch (separator) {
    case '\t':
      return "tabs";
    case ',':
      return "commas";
    case ';':
      return "semicolons";
    case '|':
      return "bars";
    case 0:
      return "JSON lines";
    default:
      return std::string("'") + separator + "'";
  }
}

TableForm table_form(std::string_view text, const std::string& path, const TableWishes& wishes) {
  refuse_wide_text(text, path);
  const std::string_view line = first_line(text);
  const bool json = is_json_lines_name(path);
  const auto form_with = [&](char separator, Names& header) {
    header = header_of(line, separator, path);
    const bool usual = wishes.usual_names || separator == 0;
    return TableForm{separator, found_column(header, wishes.image_column, kImageNames, usual),
                     found_column(header, wishes.caption_column, kCaptionNames, usual)};
  };
  const auto fits = [](const TableForm& form, const Names& header) {
    return holds(header, form.image_column) &&
           (form.caption_column.empty() || holds(header, form.caption_column));
  };
  const auto checked = [&](const TableForm& form, const Names& header) {
    need_single(header, form.image_column, path);
    need_single(header, form.caption_column, path);
    return form;
  };
  if (json && !wishes.separator.empty())
    throw Error(ErrorKind::kInvalid, "table " + path + " is JSON lines, which no separator separates",
                "take \"separator\" out of the source");
  if (line.find('\r') != std::string_view::npos && text.find('\n') == std::string_view::npos)
    throw Error(ErrorKind::kInvalid, "table " + path + ": its lines end in carriage returns alone",
                "tr '\\r' '\\n' < FILE writes it anew");
  Names header;
  const char usual = json ? '\0' : lower_case(path).ends_with(".tsv") ? '\t' : ',';
  const char set = wishes.separator == "\\t" ? '\t' : wishes.separator.c_str()[0];
  TableForm form = form_with(wishes.separator.empty() ? usual : set, header);
  if (!json && !fits(form, header))
    for (const char separator : kSeparators) {
      Names other_header;
      const TableForm other = form_with(separator, other_header);
      if (separator == form.separator || !fits(other, other_header)) continue;
      if (wishes.separator.empty()) return checked(other, other_header);
      throw Error(ErrorKind::kInvalid,
                  "table " + path + " is separated by " + separator_name(separator) + ", not " +
                      separator_name(form.separator),
                  "correct \"separator\" of the source, or leave it out");
    }
  if (header.empty()) throw Error(ErrorKind::kInvalid, "table " + path + " is empty", "write it again");
  need_column(header, form.image_column, path, "image_column");
  if (!json && !form.caption_column.empty()) need_column(header, form.caption_column, path, "caption_column");
  return checked(form, header);
}

}  // namespace trireme::jobs

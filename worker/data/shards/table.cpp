#include "worker/data/shards/table.h"

#include <algorithm>
#include <unordered_map>

#include "common/base/error.h"
#include "common/base/nearest_name.h"

namespace trireme::worker::data {
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

std::size_t column(const std::vector<std::string>& header, const std::string& name, const io::Path& path,
                   const std::string& setting) {
  const auto found = std::find(header.begin(), header.end(), name);
  if (found != header.end()) return static_cast<std::size_t>(found - header.begin());
  std::string known;
  for (const std::string& one : header) known += (known.empty() ? "" : ", ") + one;
  const std::string near = nearest_name(name, header);
  throw Error(ErrorKind::kInvalid,
              "table " + path.string() + " has no column \"" + name + "\"; its columns are: " + known,
              "set " + setting + " of the source" + (near.empty() ? "" : ", perhaps to \"" + near + "\""));
}

}  // namespace

std::vector<TableRow> parse_table(std::string_view text, char separator, std::size_t& open_quote) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  Parser parser(text, separator);
  auto rows = parser.run();
  open_quote = parser.open_quote();
  return rows;
}

Table group_table(std::string_view text, const io::Path& path, const std::string& image_column,
                  const std::string& caption_column) {
  std::size_t open_quote = 0;
  auto rows = parse_table(text, path.extension() == ".tsv" ? '\t' : ',', open_quote);
  if (open_quote > 0)
    throw Error(ErrorKind::kInvalid,
                "table " + path.string() + ": the quote opened in line " + std::to_string(open_quote) +
                    " is never closed",
                "close it, or write the field in quotes and each quote inside it twice");
  if (rows.empty())
    throw Error(ErrorKind::kInvalid, "table " + path.string() + " is empty", "write it again");
  const std::size_t image = column(rows[0].fields, image_column, path, "image_column");
  const std::size_t caption = column(rows[0].fields, caption_column, path, "caption_column");
  Table table;
  std::unordered_map<std::string, std::size_t> entry_of;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    auto& row = rows[i].fields;
    if (std::max(image, caption) >= row.size() || row[image].empty()) {
      if (table.short_rows++ == 0) table.first_short_line = rows[i].line;
      continue;
    }
    const auto [at, fresh] = entry_of.emplace(row[image], table.entries.size());
    if (fresh) table.entries.push_back({row[image], {}});
    table.entries[at->second].raw_captions.push_back(std::move(row[caption]));
  }
  return table;
}

}  // namespace trireme::worker::data

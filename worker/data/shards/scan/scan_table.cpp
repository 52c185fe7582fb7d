#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/layouts/folder_listing.h"
#include "jobs/layouts/leftover.h"
#include "jobs/layouts/table_text.h"
#include "worker/data/shards/caption_text.h"
#include "worker/data/shards/sample_fields.h"
#include "worker/data/shards/sample_json.h"
#include "worker/data/shards/scan/scan_samples.h"
#include "worker/data/shards/scan/shard_scan.h"

namespace trireme::worker::data {
namespace {

constexpr std::uint64_t kImageLimitBytes = std::uint64_t{64} << 20;

// The table of an image folder of Hugging Face, whose pictures are all meant.
bool is_metadata(const io::Path& table) {
  return table.stem() == "metadata" && jobs::is_table_name(table.string());
}

// One image of a table with all of its rows' captions, in order of first occurrence.
struct Entry {
  std::string image_path;  // as written
  std::vector<std::string> raw_captions;
  std::string json;  // JSON lines: the first row
  std::int64_t rows = 0;
};

class TableScan {
 public:
  TableScan(const io::Path& path, std::string_view bytes, const jobs::SourceSpec& source, ShardScan& scan)
      : path_(path.string()), bytes_(bytes), scan_(scan) {
    form_ = jobs::table_form(bytes, path_,
                             {source.separator, source.image_column,
                              source.captions == jobs::CaptionForm::kNone ? "" : source.caption_column});
    if (form_.separator == 0)
      read_json_lines();
    else
      read_rows();
  }

  std::vector<Entry>& entries() { return entries_; }
  bool is_json() const { return form_.separator == 0; }
  const std::string& caption_column() const { return form_.caption_column; }
  // Version 1 split it at the same characters and took every row that it did.
  bool as_before() const { return as_before_ && !is_json(); }

 private:
  void read_rows() {
    std::size_t open_quote = 0;
    auto rows = jobs::parse_table(bytes_, form_.separator, open_quote);
    if (open_quote > 0)
      throw Error(
          ErrorKind::kInvalid,
          "table " + path_ + ": the quote opened in line " + std::to_string(open_quote) + " is never closed",
          "close it, or write the field in quotes and each quote inside it twice");
    const auto& header = rows.at(0).fields;
    const auto column = [&](const std::string& name) {
      return static_cast<std::size_t>(std::find(header.begin(), header.end(), name) - header.begin());
    };
    const std::size_t image = column(form_.image_column), caption = column(form_.caption_column);
    const std::size_t needed = std::max(image, form_.caption_column.empty() ? image : caption);
    for (std::size_t i = 1; i < rows.size(); ++i) {
      auto& fields = rows[i].fields;
      const bool whole = fields.size() == header.size();
      if (whole && swallows_rows(fields, image)) {
        as_before_ = false;
        bad_row(rows[i].line, "a quote that opens in it is closed lines later, in another row");
        continue;
      }
      if (whole && caption < fields.size()) ++(is_list_text(fields[caption]) ? lists_ : texts_);
      if (whole && !fields[image].empty()) {
        take(std::move(fields[image]),
             caption < fields.size() ? std::vector{fields[caption]} : std::vector<std::string>(), {});
        continue;
      }
      as_before_ = as_before_ && (fields.size() <= needed || fields[image].empty());
      bad_row(rows[i].line, whole ? "it names no picture"
                                  : "it has " + std::to_string(fields.size()) + " fields, the header " +
                                        std::to_string(header.size()));
    }
    if (lists_ > texts_)
      throw Error(
          ErrorKind::kInvalid,
          "table " + path_ + ": \"" + form_.caption_column + "\" holds lists as text ([\'a dog\', …])",
          "write a row per caption, or JSON lines, where a list is several captions");
  }

  // A quote without its end takes the rows up to the next one: lines inside a field that are rows themselves.
  bool swallows_rows(const std::vector<std::string>& fields, std::size_t image) const {
    for (const std::string& field : fields)
      for (std::size_t at = field.find('\n'); at != std::string::npos; at = field.find('\n', at + 1)) {
        std::size_t open_quote = 0;
        const auto line =
            jobs::parse_table(std::string_view(field).substr(at + 1, field.find('\n', at + 1) - at - 1),
                              form_.separator, open_quote);
        if (!line.empty() && line[0].fields.size() == fields.size() &&
            jobs::is_picture_name(line[0].fields[image]))
          return true;
      }
    return false;
  }

  // "['a dog', 'two dogs']": a list of Python, written as text.
  static bool is_list_text(std::string_view text) {
    return text.size() > 3 && text[0] == '[' && (text[1] == '\'' || text[1] == '"') && text.ends_with(']');
  }

  void read_json_lines() {
    std::size_t line = 0;
    std::string_view text = bytes_;
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      std::string_view row = text.substr(at, end - at);
      if (row.ends_with('\r')) row.remove_suffix(1);
      at = end + 1;
      ++line;
      if (row.find_first_not_of(" \t") == std::string_view::npos) continue;
      auto image = strings_at(row, form_.image_column);
      if (image.size() == 1 && !image[0].empty())
        take(
            std::move(image[0]),
            form_.caption_column.empty() ? std::vector<std::string>() : strings_at(row, form_.caption_column),
            row);
      else
        bad_row(line, fault_of(row, image.size()));
    }
  }

  std::string fault_of(std::string_view row, std::size_t pictures) const {
    const std::string column = "\"" + form_.image_column + "\"";
    if (const std::string fault = json_fault(row); !fault.empty()) return fault;
    if (pictures > 1) return "it names " + std::to_string(pictures) + " pictures at " + column;
    return pictures == 1 ? "it names no picture" : "it has no text at " + column;
  }

  void bad_row(std::size_t line, const std::string& why) {
    ++scan_.seen["rows"];
    ++scan_.seen["rows.bad"];
    if (++scan_.bad["bad_row"] > 1) return;
    scan_.examples.push_back("line " + std::to_string(line) + ": bad_row (" + why + ")");
    scan_.advice =
        "line " + std::to_string(line) + ": " + why +
        (form_.separator == 0 ? ""
                              : "; fields are separated by " + jobs::separator_name(form_.separator) +
                                    ", and one that holds the separator stands in quotes");
  }

  void take(std::string image, std::vector<std::string> captions, std::string_view json) {
    ++scan_.seen["rows"];
    if (jobs::is_leftover_file(image)) {
      ++scan_.seen["rows.hidden"];
      as_before_ = false;
      return;
    }
    const auto [at, fresh] = entry_of_.emplace(image, entries_.size());
    if (fresh) entries_.push_back({std::move(image), {}, std::string(json), 0});
    Entry& entry = entries_[at->second];
    ++entry.rows;
    for (auto& caption : captions) entry.raw_captions.push_back(std::move(caption));
  }

  std::string path_;
  std::string_view bytes_;
  ShardScan& scan_;
  jobs::TableForm form_;
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t> entry_of_;
  bool as_before_ = true;
  std::int64_t lists_ = 0, texts_ = 0;  // captions of rows
};

// Pictures at and below the folder of an image folder's table that none of its rows names, nor another such
// table below could.
std::int64_t unnamed_pictures(const io::Path& folder, const std::vector<Entry>& entries) {
  std::unordered_set<std::string> named;
  for (const Entry& entry : entries) named.insert(io::Path(entry.image_path).lexically_normal().string());
  const auto files = jobs::files_of_folder(folder, true);
  std::vector<std::string> others;  // "train/"
  for (const auto& file : files)
    if (const auto slash = file.name.rfind('/');
        slash != std::string::npos && is_metadata(file.name.substr(slash + 1)))
      others.push_back(file.name.substr(0, slash + 1));
  return std::ranges::count_if(files, [&](const auto& file) {
    return jobs::is_picture_name(file.name) && !jobs::is_leftover(file.name) && !named.contains(file.name) &&
           std::ranges::none_of(others, [&](const auto& other) { return file.name.starts_with(other); });
  });
}

// "" when the file can be an image, else why not.
std::string image_file_fault(const io::Path& file) {
  if (!io::is_file(file)) return "no_image";
  return io::size_of(file) > kImageLimitBytes ? "oversized_member" : "";
}

// Why there is no such file, as far as its name tells.
std::string where_pictures_are(const std::string& name, const io::Path& folder) {
  const auto at_an_end = [&](char c) { return name.front() == c || name.back() == c; };
  if (name.starts_with("file:")) return "a picture's path is written plainly, not as " + printable(name, 100);
  if (name.find("://") != std::string::npos)
    return "pictures are files, and " + printable(name, 100) +
           " is an address: img2dataset downloads such a table";
  if (name.find('\\') != std::string::npos) return "folders are parted by /, not by \\";
  for (const char c : {' ', '\'', '"'})
    if (at_an_end(c)) return "the table has its pictures' names with blanks or quotes around them";
  if (name.starts_with("~")) return "~ is not read as a home folder";
  return "paths of pictures begin in the table's folder, " + folder.string();
}

// "" when the sample is kept, else why not.
std::string keep(const Entry& entry, const io::Path& folder, bool captions_wanted, ShardIndex& index,
                 ShardScan& scan) {
  if (const std::string fault = image_file_fault(folder / entry.image_path); !fault.empty()) return fault;
  IndexSample sample;
  sample.text.offset = index.captions.size();
  CaptionText all;
  for (const std::string& raw : entry.raw_captions) {
    const CaptionText text = read_caption(raw);
    all.long_caption += text.long_caption;
    all.bad_text += text.bad_text;
    for (const std::string& caption : text.captions) index.captions.push_back(index.intern(caption));
  }
  sample.text.size = index.captions.size() - sample.text.offset;
  if (sample.text.size == 0 && captions_wanted) return all.bad_text > 0 ? "bad_text" : "no_caption";
  note(all, scan);
  sample.image = index.intern(entry.image_path);
  sample.key = valid_utf8(entry.image_path) ? sample.image : index.intern(printable(entry.image_path));
  if (index.kind == ShardKind::kFiles) sample.json = index.intern(entry.json);
  scan.captions += static_cast<std::int64_t>(sample.text.size);
  index.samples.push_back(sample);
  return "";
}

}  // namespace

void scan_table(const io::Path& table, std::string_view bytes, const jobs::SourceSpec& source,
                const std::function<void()>& poll, ShardIndex& index, ShardScan& scan) {
  index.sha256 = io::sha256_hex(bytes);
  for (const char* name : {"rows", "rows.kept", "rows.bad"}) scan.seen[name] = 0;
  TableScan rows(table, bytes, source, scan);
  index.kind = rows.is_json() ? ShardKind::kFiles : ShardKind::kTable;
  std::string not_there;  // the first one
  for (const Entry& entry : rows.entries()) {
    if (poll) poll();
    const std::string fault =
        keep(entry, table.parent_path(), source.captions != jobs::CaptionForm::kNone, index, scan);
    scan.seen[fault.empty() ? "rows.kept" : "rows.bad"] += entry.rows;
    if (!fault.empty()) scan.blame(entry.image_path, fault);
    if (fault == "no_image" && not_there.empty()) not_there = entry.image_path;
  }
  if (is_metadata(table.filename()))
    if (const auto unnamed = unnamed_pictures(table.parent_path(), rows.entries()); unnamed > 0)
      scan.seen["pictures.unnamed"] = unnamed;
  const auto& seen = scan.seen;
  const std::int64_t hidden = seen.contains("rows.hidden") ? seen.at("rows.hidden") : 0;
  if (seen.at("rows.kept") + seen.at("rows.bad") + hidden != seen.at("rows"))
    throw Error(ErrorKind::kInternal, "the rows of " + table.string() + " do not add up");
  const auto say = [&](const char* reason, const std::string& text) {
    if (scan.bad.contains(reason)) scan.advice += (scan.advice.empty() ? "" : "; ") + text;
  };
  if (rows.is_json() && scan.bad.contains("no_caption")) {
    std::string fields;
    for (const auto& name : members_with_text(rows.entries()[0].json))
      fields += (fields.empty() ? "" : ", ") + printable(name, 80);
    say("no_caption", "captions are looked for in \"" + rows.caption_column() + "\"" +
                          (fields.empty() ? ""
                                          : "; the first line has text in: " + fields +
                                                " (set caption_column of the source to one of them)"));
  }
  say("bad_text", "the table is not UTF-8: iconv -f LATIN1 -t UTF-8 writes it anew");
  if (!not_there.empty()) say("no_image", where_pictures_are(not_there, table.parent_path()));
  if (index.samples.empty() && scan.bad.empty()) scan.advice = "it has a header and no rows with pictures";
  if (!rows.as_before() || source.captions == jobs::CaptionForm::kNone) scan.reading = reading_of(index);
}

}  // namespace trireme::worker::data

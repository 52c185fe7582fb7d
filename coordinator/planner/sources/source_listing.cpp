#include "coordinator/planner/sources/source_listing.h"

#include <algorithm>
#include <set>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "coordinator/planner/sources/picture_folders.h"
#include "coordinator/planner/sources/tar_look.h"
#include "jobs/layouts/folder_listing.h"
#include "jobs/layouts/leftover.h"
#include "jobs/layouts/line_list.h"
#include "jobs/layouts/sample_parts.h"
#include "jobs/layouts/table_text.h"

namespace trireme::coordinator::planner {
namespace {

using jobs::CaptionForm, jobs::DataFormat, jobs::SampleKey;
constexpr std::size_t kNamed = 5;  // of many files

std::string joined(const std::vector<std::string>& names, std::size_t most = kNamed) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < most; ++i)
    out += (i == 0 ? "" : ", ") + printable(names[i], 200);
  return names.size() > most ? out + " and " + std::to_string(names.size() - most) + " more" : out;
}

std::string counted(std::size_t count, const std::string& one, const std::string& many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

bool is_tar(const io::Path& path) {
  return jobs::lower_case(path.extension().string()) == ".tar" &&
         !jobs::is_leftover_file(path.filename().string());
}

std::vector<std::string> tars_in(const io::Path& folder) {
  std::vector<std::string> tars;
  for (const auto& path : io::list_folder(folder))
    if (is_tar(path) && !io::is_folder(path)) tars.push_back(path.string());
  std::ranges::sort(tars, jobs::natural_less);
  return tars;
}

// Shards that archivers packed are refused, unless the same shard lies unpacked beside; other names that look
// like shards are said.
std::vector<std::string> not_taken(const io::Path& folder) {
  std::vector<std::string> packed, others;
  std::string unpack;
  for (const auto& path : io::list_folder(folder)) {
    const std::string name = path.filename().string(), low = jobs::lower_case(name);
    if (io::is_folder(path)) {
      if (!jobs::is_leftover(name) && !tars_in(path).empty()) others.push_back(name + "/ (a folder of tars)");
      continue;
    }
    if (const auto form = jobs::packed_shard(name); form && !name.starts_with(".")) {
      const std::string stem = name.substr(0, name.size() - form->suffix.size());
      if (io::exists(folder / (stem + ".tar"))) continue;
      packed.push_back(name);
      unpack = form->unpack;
    } else if (!is_tar(path) && low.find(".tar") != std::string::npos && !name.starts_with("._")) {
      others.push_back(name);
    }
  }
  std::ranges::sort(packed, jobs::natural_less);
  std::ranges::sort(others, jobs::natural_less);
  if (!packed.empty())
    throw Error(
        ErrorKind::kInvalid,
        folder.string() + " holds packed shards: " + joined(packed) +
            "; a shard is read at any place, so "
            "it has to be a plain .tar",
        "unpack them (" + unpack + " " + (folder / packed[0]).string() + " …), or move them elsewhere");
  return others;
}

bool is_split_name(const std::string& name) {
  static const std::set<std::string> kSplits = {"train",      "test", "val",     "valid",
                                                "validation", "dev",  "training"};
  return kSplits.contains(jobs::lower_case(name));
}

class SourceLister {
 public:
  explicit SourceLister(const jobs::SourceSpec& source) : wanted_(source.wanted_layout()) {
    found_.resolved = source;
  }

  ListedSource run() {
    const io::Path given = io::absolute(found_.resolved.path).lexically_normal();
    if (!io::exists(given)) {
      const bool pattern = given.filename().string().find_first_of("*?{") != std::string::npos;
      throw Error(ErrorKind::kNotFound, "there is no file or folder " + given.string(),
                  pattern ? "a path is no pattern: name the folder, or several sources" : "");
    }
    if (io::is_folder(given))
      folder(given);
    else
      file(given);
    if (found_.format == DataFormat::kUnset) decide_tars();
    refuse_unread();
    return std::move(found_);
  }

 private:
  void file(const io::Path& path) {
    if (const auto packed = jobs::packed_shard(path.filename().string()))
      throw Error(ErrorKind::kInvalid, path.string() + " is packed",
                  "unpack it: " + std::string(packed->unpack));
    if (const auto packed = jobs::packed_shard("a.tar" + path.extension().string());
        packed && jobs::is_table_name(path.stem().string()))
      throw Error(ErrorKind::kInvalid, path.string() + " is a packed table",
                  "unpack it: " + std::string(packed->unpack) + " " + path.string());
    if (jobs::is_table_name(path.string()) || wanted_ == DataFormat::kTable) {
      if (wanted_ != DataFormat::kAuto && wanted_ != DataFormat::kTable)
        throw Error(ErrorKind::kInvalid, path.string() + " is a table, not " + std::string(name_of(wanted_)),
                    "leave \"format\" out");
      return table(path, false);
    }
    if (wanted_ == DataFormat::kFiles || wanted_ == DataFormat::kClassFolders)
      throw Error(ErrorKind::kInvalid,
                  path.string() + " is a file, and " + std::string(name_of(wanted_)) + " a folder");
    if (path.extension() == ".parquet")
      throw Error(
          ErrorKind::kInvalid,
          path.string() + " is a .parquet, whose columns are read beside tars; pictures in one are not",
          "name the folder of the tars as path, and this file as \"parquet\" of the source; a data set "
          "that holds its pictures in it is written as tars or as an image folder first");
    if (path.extension() == ".json")
      throw Error(ErrorKind::kInvalid,
                  path.string() + " is a .json, one document; a table has one object a line (.jsonl)",
                  "jq -c '.[]' writes a list as lines; what COCO keeps in two lists is joined first");
    if (jobs::lower_case(path.extension().string()) != ".tar" && wanted_ == DataFormat::kAuto)
      throw Error(ErrorKind::kInvalid, path.string() + " is neither .tar nor .csv nor .tsv",
                  "set \"format\" when the name does not tell");
    found_.paths = {path.string()};
  }

  void folder(const io::Path& path) {
    if (wanted_ == DataFormat::kTable)
      throw Error(ErrorKind::kInvalid, path.string() + " is a folder, not a table",
                  "name the .csv, .tsv or .jsonl file");
    if (wanted_ == DataFormat::kClassFolders) return class_folders(path);
    if (wanted_ == DataFormat::kFiles) return files(path);
    if (io::exists(path / "nshards.txt") && wanted_ != DataFormat::kWebdataset) {
      found_.paths = numbered_tars(path);
      numbered_ = true;
      return;
    }
    const auto others = not_taken(path);
    found_.paths = tars_in(path);
    if (!found_.paths.empty()) {
      if (!others.empty())
        found_.notes.push_back("beside the tars of " + path.string() + " and not taken: " + joined(others));
      return;
    }
    std::vector<std::string> splits;
    for (const auto& name : jobs::folders_in(path)) {
      const io::Path split = path / name;
      const bool tars = io::exists(split / "nshards.txt") || !tars_in(split).empty();
      if (tars || (wanted_ == DataFormat::kAuto && is_split_name(name) && metadata_in(path).empty()))
        splits.push_back(name);
    }
    if (splits.size() == 1 && !pictures_in(path)) return folder(path / splits[0]);
    if (splits.size() > 1) {
      std::string names;
      for (const auto& split : splits) names += (names.empty() ? "" : ", ") + (path / split).string();
      throw Error(ErrorKind::kInvalid, path.string() + " has several splits", "name one of: " + names);
    }
    if (wanted_ == DataFormat::kAuto) return image_folders(path);
    throw Error(ErrorKind::kInvalid, "the folder " + path.string() + " holds no .tar file",
                "name a tar, a folder of tars, a CLIP_benchmark folder or a table");
  }

  // One table after another where sub-folders have their own, as long as all of them say the same things.
  void image_folders(const io::Path& path) {
    const std::vector<std::string> tables = metadata_below(path);
    if (tables.empty()) return files(path);
    const jobs::SourceSpec given = found_.resolved;
    const ListedSource first = one_table(given, tables[0]);
    for (const auto& other : tables) {
      const ListedSource next = one_table(given, other);
      if (next.resolved.separator != first.resolved.separator ||
          next.resolved.image_column != first.resolved.image_column ||
          next.resolved.caption_column != first.resolved.caption_column)
        throw Error(ErrorKind::kInvalid,
                    "the tables of " + path.string() + " differ: " + first.decided + ", and " + next.decided,
                    "name one of the folders as path, or the columns with image_column and caption_column");
    }
    found_ = first;
    found_.paths = tables;
    if (tables.size() > 1)
      found_.decided += "; and the same of " + std::to_string(tables.size() - 1) +
                        " more: " + joined({tables.begin() + 1, tables.end()});
    std::vector<std::string> folders;
    for (const auto& one : tables) folders.push_back(io::Path(one).parent_path().string());
    say_not_taken(folders, tables);
  }

  static ListedSource one_table(const jobs::SourceSpec& source, const std::string& path) {
    SourceLister lister(source);
    lister.table(path, true);
    return std::move(lister.found_);
  }

  void say_not_taken(const std::vector<std::string>& folders, const std::vector<std::string>& taken) {
    if (const std::string others = tables_not_taken(folders, taken); !others.empty())
      found_.notes.push_back("beside the pictures and not taken: " + others +
                             " (a table is read where path names it)");
  }

  void table(const io::Path& path, bool image_folder) {
    jobs::SourceSpec& source = found_.resolved;
    if (!source.parquet.empty())
      throw Error(ErrorKind::kInvalid, path.string() + " is a table: parquet is joined to tars and folders",
                  "leave \"parquet\" out");
    const io::MappedFile mapped(path);
    const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()),
                                std::min<std::size_t>(mapped.bytes().size(), 1 << 20));
    const std::string before = source.separator;
    const bool pictures_alone = source.captions == CaptionForm::kNone;
    const jobs::TableForm form = jobs::table_form(
        text, path.string(),
        {source.separator, source.image_column, pictures_alone ? "" : source.caption_column, image_folder});
    const bool usual = form.separator == (jobs::lower_case(path.string()).ends_with(".tsv") ? '\t' : ',');
    if (form.separator != 0 && !usual) source.separator = std::string(1, form.separator);
    source.image_column = form.image_column;
    if (!pictures_alone) source.caption_column = form.caption_column;
    found_.paths = {path.string()};
    found_.format = DataFormat::kTable;
    found_.decided = path.string() + ": a table, " +
                     (form.separator == 0 ? std::string("JSON lines")
                                          : "fields separated by " + jobs::separator_name(form.separator) +
                                                (before.empty() ? " (auto)" : "")) +
                     "; pictures: column \"" + form.image_column + "\"; captions: " +
                     (pictures_alone ? std::string("none") : "column \"" + form.caption_column + "\"");
  }

  void files(const io::Path& path) {
    found_.paths = picture_folders(path);
    if (found_.paths.empty()) refuse_empty(path);
    found_.format = DataFormat::kFiles;
    std::int64_t pictures = 0, texts = 0, jsons = 0, labels = 0;
    for (const auto& folder : found_.paths)
      for (const auto& file : jobs::files_of_folder(folder)) {
        jobs::MemberName split;
        if (jobs::is_leftover(file.name) || !jobs::split_member(file.name, jobs::KeyRule::kLastDot, split))
          continue;
        pictures += jobs::is_image_suffix(split.suffix) ? 1 : 0;
        texts += jobs::is_text_suffix(split.suffix, found_.resolved) ? 1 : 0;
        jsons += split.suffix == "json" ? 1 : 0;
        labels += split.suffix == "cls" ? 1 : 0;
      }
    jobs::SourceSpec& source = found_.resolved;
    const bool guessed =
        source.captions == CaptionForm::kAuto && texts + jsons + labels == 0 && source.parquet.empty();
    if (guessed) source.captions = CaptionForm::kNone;
    std::string line = path.string() + ": " + counted(found_.paths.size(), "folder", "folders") + " with " +
                       counted(static_cast<std::size_t>(pictures), "picture", "pictures") + "; captions: " +
                       (source.captions == CaptionForm::kNone
                            ? std::string("none, photographs alone") + (guessed ? " (auto)" : "")
                            : captions_text(source, source.captions == CaptionForm::kLines));
    say_not_taken(found_.paths, {});
    if (const std::string others = guessed ? other_files(path) : ""; !others.empty())
      found_.notes.push_back(
          "files of " + path.string() + " that are not read: " + others +
          " (a caption is the .txt or .json, or what text_member names, beside its picture)");
    if (guessed && found_.paths.size() > 1)
      line += "; the folders are no classes (layout \"class_folders\" makes them that)";
    found_.decided = line;
  }

  void class_folders(const io::Path& path) {
    found_.classes = jobs::folders_in(path);
    std::vector<std::string> empty;
    for (const auto& name : found_.classes) {
      found_.paths.push_back((path / name).string());
      const auto files = jobs::files_of_folder(path / name, true);
      if (std::ranges::none_of(files, [](const auto& file) { return jobs::is_picture_name(file.name); }))
        empty.push_back(name);
    }
    if (found_.classes.empty())
      throw Error(ErrorKind::kInvalid, path.string() + " holds no class folders",
                  "a class is a folder of pictures");
    if (!empty.empty())
      throw Error(ErrorKind::kInvalid, path.string() + ": class folders without a picture: " + joined(empty),
                  "labels count all folders: fill them or take them away");
    found_.format = DataFormat::kClassFolders;
    if (found_.resolved.captions == CaptionForm::kAuto) found_.resolved.captions = CaptionForm::kNone;
    found_.decided = path.string() + ": " + counted(found_.classes.size(), "class folder", "class folders") +
                     ", labels in the order of their names: " + joined(found_.classes);
  }

  // A setting that this layout does not read would be believed to be in force.
  void refuse_unread() const {
    const jobs::SourceSpec& source = found_.resolved;
    const bool table = found_.format == DataFormat::kTable,
               lines = source.captions == CaptionForm::kOne || source.captions == CaptionForm::kLines;
    const std::pair<const char*, bool> unread[] = {
        {"key", table && source.key != SampleKey::kAuto},
        {"image_member", table && !source.image_member.empty()},
        {"text_member", table && !source.text_member.empty()},
        {"caption_field", table && !source.caption_field.empty()},
        {"captions", table && lines},
        {"separator", !table && !source.separator.empty()},
        {"image_column", !table && source.image_column != jobs::SourceSpec().image_column},
        {"caption_column", !table && source.caption_column != jobs::SourceSpec().caption_column}};
    for (const auto& [name, set] : unread)
      if (set)
        throw Error(ErrorKind::kInvalid,
                    std::string("\"") + name + "\" is set, and nothing reads it: " + source.path + " is " +
                        (table ? "a table" : "no table"),
                    "take it out of the source");
  }

  [[noreturn]] void refuse_empty(const io::Path& path) const {
    std::set<std::string> suffixes;
    for (const auto& file : jobs::files_of_folder(path))
      if (jobs::MemberName split;
          jobs::split_member(file.name, jobs::KeyRule::kLastDot, split) && suffixes.size() < 8)
        suffixes.insert("." + split.suffix);
    std::string there;
    for (const auto& suffix : suffixes) there += (there.empty() ? "; it has " : ", ") + suffix;
    throw Error(
        ErrorKind::kInvalid, "the folder " + path.string() + " holds no .tar file and no picture" + there,
        "name a tar, a folder of tars or pictures, a CLIP_benchmark folder or a .csv/.tsv/.jsonl table");
  }

  static std::string captions_text(const jobs::SourceSpec& source, bool lines) {
    if (source.captions == CaptionForm::kNone) return "none, pictures alone";
    if (!source.caption_field.empty()) return "member \"" + source.caption_field + "\" of .json";
    const std::string member = "." + (source.text_member.empty() ? "txt" : source.text_member);
    return (lines ? "one per line of " : "one per ") + member;
  }

  // One caption a text, or one a line: as set, by the layout, or by what most of the first texts have.
  void decide_tars() {
    const jobs::SourceSpec& source = found_.resolved;
    const io::Path first = found_.paths.front();
    const TarLook look = look_at_tar(first, source.text_member);
    const bool clip = numbered_ || clip_files_beside(first);
    bool lines = wanted_ == DataFormat::kClipBenchmark ||
                 (wanted_ == DataFormat::kAuto && (clip || look.labels || look.caption_per_line()));
    if (source.captions == CaptionForm::kOne || source.captions == CaptionForm::kLines)
      lines = source.captions == CaptionForm::kLines;
    found_.format = lines ? DataFormat::kClipBenchmark : DataFormat::kWebdataset;
    const jobs::KeyRule rule = jobs::key_rule(look.names, source);
    std::string line = (found_.paths.size() == 1 ? first.string()
                                                 : first.parent_path().string() + ": " +
                                                       std::to_string(found_.paths.size()) + " tars") +
                       "; captions: " + captions_text(source, lines);
    if (source.captions == CaptionForm::kAuto && source.caption_field.empty())
      line += look.texts == 0 ? (look.labels ? "" : " (auto; there is none among the first members)")
                              : " (auto: " + std::to_string(look.texts_of_lines) + " of the first " +
                                    std::to_string(look.texts) + " have several lines)";
    line += std::string("; key: ") + (rule == jobs::KeyRule::kLastDot ? "last_dot" : "first_dot") +
            (source.key == SampleKey::kAuto ? look.whole ? " (auto)" : " (auto, by the first members)" : "") +
            "; labels: " + (look.labels ? ".cls" : "none");
    if (!source.parquet.empty()) line += "; columns: " + source.parquet;
    found_.decided = line;
  }

  DataFormat wanted_;
  ListedSource found_;
  bool numbered_ = false;
};

}  // namespace

ListedSource list_source(const jobs::SourceSpec& source) {
  return SourceLister(source).run();
}

}  // namespace trireme::coordinator::planner

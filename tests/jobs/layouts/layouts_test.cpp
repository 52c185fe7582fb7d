// Names, lists and table headers as planner and worker agree on them.
#include <gtest/gtest.h>
#include <unistd.h>

#include "common/base/error.h"
#include "jobs/layouts/folder_listing.h"
#include "jobs/layouts/leftover.h"
#include "jobs/layouts/line_list.h"
#include "jobs/layouts/sample_parts.h"
#include "jobs/layouts/table_text.h"
#include "jobs/specification/prompt_template.h"

namespace trireme::jobs {
namespace {

using Strings = std::vector<std::string>;

template <class Call>
std::string fault_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    return error.what();
  }
  return "";
}
bool has(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

TEST(Leftover, HiddenFilesAndWhatProgramsLeave) {
  for (const char* name :
       {"._a.jpg", "x/._a.jpg", ".DS_Store", "__MACOSX/a.jpg", "x/__MACOSX/._a.txt", "Thumbs.db",
        "desktop.ini", "a.jpg~", "a.txt.swp", "b.jpg.part", "b.jpg.crdownload", "c.tmp", "x/#c#",
        ".ipynb_checkpoints/a.jpg", "~$notes.txt", "@eaDir/a.jpg", "00000.tar.tmp"})
    EXPECT_TRUE(is_leftover(name)) << name;
  for (const char* name :
       {"a.jpg", "./a.jpg", "../x/a.jpg", "x.part/a.jpg", "a~b.jpg", "part.jpg", "a.tmp.jpg"})
    EXPECT_FALSE(is_leftover(name)) << name;
  EXPECT_FALSE(is_leftover_file("../.cache/a.jpg")) << "a table that names it means it";
  EXPECT_TRUE(is_leftover_file("img/._a.jpg"));
}

TEST(PackedShard, IsKnownByItsName) {
  EXPECT_EQ(packed_shard("00001.tar.gz")->unpack, "gunzip");
  EXPECT_EQ(packed_shard("00001.TGZ")->suffix, ".tgz");
  EXPECT_TRUE(packed_shard("a.tar.zst"));
  EXPECT_TRUE(packed_shard("photos.zip"));
  EXPECT_FALSE(packed_shard("00001.tar"));
  EXPECT_FALSE(packed_shard("labels.csv.gz"));
}

// What webdataset 1.0.2 yields for these names: a/1 {jpg, seg.png, txt}, b {jpg, txt}, c {d.jpg, d.txt},
// e {jpg, json, txt}, f.g/h {jpg, txt}; ".hid.jpg" is passed over.
TEST(MemberName, FirstDotIsWebdatasets) {
  const auto split = [](const char* name, KeyRule rule = KeyRule::kFirstDot) {
    MemberName out;
    return split_member(name, rule, out) ? std::string(out.key) + " " + out.suffix : "";
  };
  EXPECT_EQ(split("a/1.seg.png"), "a/1 seg.png");
  EXPECT_EQ(split("b.JPG"), "b jpg");
  EXPECT_EQ(split("c.d.txt"), "c d.txt");
  EXPECT_EQ(split("f.g/h.jpg"), "f.g/h jpg");
  EXPECT_EQ(split(".hid.jpg"), "");
  EXPECT_EQ(split("f.g/README"), "");
  EXPECT_EQ(split("Lake 2.0 (edit).jpg", KeyRule::kLastDot), "Lake 2.0 (edit) jpg");
  EXPECT_EQ(split("f.g/h", KeyRule::kLastDot), "");
}

TEST(KeyRule, TheLastDotWhereItMakesMoreSamplesWhole) {
  SourceSpec source;
  EXPECT_EQ(key_rule({"a.jpg", "a.txt"}, source), KeyRule::kFirstDot);
  EXPECT_EQ(key_rule({"a.jpg", "a.seg.png", "a.txt"}, source), KeyRule::kFirstDot);
  EXPECT_EQ(key_rule({"Lake 2.20.jpg", "Lake 2.20.txt", "a.jpg", "a.txt"}, source), KeyRule::kLastDot);
  EXPECT_EQ(key_rule({"a.input.jpg", "a.output.txt"}, source), KeyRule::kFirstDot);
  EXPECT_EQ(key_rule({"._a.b.jpg", "._a.b.txt", "a.jpg", "a.txt"}, source), KeyRule::kFirstDot);
  source.key = SampleKey::kFirstDot;
  EXPECT_EQ(key_rule({"a.b.jpg", "a.b.txt"}, source), KeyRule::kFirstDot);
  source.key = SampleKey::kAuto;
  source.captions = CaptionForm::kNone;
  EXPECT_EQ(key_rule({"a.1.jpg", "a.2.jpg"}, source), KeyRule::kLastDot);
}

TEST(LineList, MarksCarriageReturnsAndALastEmptyLineAreReadOver) {
  EXPECT_EQ(parse_line_list("red\ngreen\n", "f"), (Strings{"red", "green"}));
  EXPECT_EQ(parse_line_list("\xEF\xBB\xBFred\r\n green \r\n\r\n\n", "f"), (Strings{"red", "green"}));
  EXPECT_EQ(parse_line_list("red\r\r\ngreen\r", "f"), (Strings{"red", "green"}));
  EXPECT_EQ(parse_line_list("red", "f"), Strings{"red"});
  EXPECT_EQ(parse_line_list("", "f"), Strings{});
  EXPECT_EQ(parse_line_list("a \n b\n", "f", false), (Strings{"a ", " b"}));
}

TEST(LineList, WhatWouldMoveTheLinesBehindItIsAFaultWithItsNumber) {
  const auto fault = [](const std::string& text) {
    return fault_of([&] { parse_line_list(text, "names.txt"); });
  };
  EXPECT_TRUE(has(fault("red\ngr\xFCn\nblue\n"), "names.txt:2: the line is not UTF-8"));
  EXPECT_TRUE(has(fault("\nred\n"), "names.txt:1: the line is empty"));
  EXPECT_TRUE(has(fault("red\rgreen\r"), "names.txt:1: a carriage return stands inside the line"));
  EXPECT_TRUE(has(fault("red\n \nblue"), "names.txt:2: the line is empty"));
  EXPECT_TRUE(has(fault(std::string("\xFF\xFEr\0e\0d\0", 8)), "UTF-16"));
  EXPECT_TRUE(has(fault(std::string("r\0e\0d\0\n\0g\0r\0", 12)), "UTF-16"));
  EXPECT_EQ(repeated_lines({"crane", "dog", "crane", "maillot", "maillot"}, "f"),
            "f: \"crane\" stands in lines 1 and 3, and 1 more lines stand twice");
  EXPECT_EQ(repeated_lines({"a", "b"}, "f"), "");
}

TEST(LineList, FilesLieBesideTheShardOrOneFolderUp) {
  const io::Path folder =
      std::filesystem::temp_directory_path() / ("trireme-lists-" + std::to_string(::getpid()));
  io::write_file_atomic(folder / kClassNamesFile, "air plane\ndog\n", false);
  io::write_file_atomic(folder / "test" / kTemplatesFile, "a photo of a {}.\n{c}\n", false);
  EXPECT_EQ(class_names_near(folder / "test/0.tar"), (Strings{"air plane", "dog"}));
  EXPECT_EQ(class_templates_near(folder / "test/0.tar"), (Strings{"a photo of a {c}.", "{c}"}));
  EXPECT_TRUE(class_templates_near(folder / "0.tar").empty());
  io::write_file_atomic(folder / "test" / kTemplatesFile, "{}\na photo.\n", false);
  EXPECT_TRUE(
      has(fault_of([&] { class_templates_near(folder / "test/0.tar"); }), ".txt:2: the prompt has no place"));
  io::write_file_atomic(folder / "test" / kTemplatesFile, "lambda c: f'a photo of a {c}.',\n'a {}',\n",
                        false);
  EXPECT_TRUE(has(fault_of([&] { class_templates_near(folder / "test/0.tar"); }), "source of a program"));
  io::write_file_atomic(folder / kClassNamesFile, "'tench',\n\"goldfish\",\n", false);
  EXPECT_TRUE(has(fault_of([&] { class_names_near(folder / "test/0.tar"); }), ".txt:1: the line is written"));
  io::write_file_atomic(folder / kClassNamesFile, "names = [\n'tench',\n'goldfish',\n]\n", false);
  EXPECT_TRUE(has(fault_of([&] { class_names_near(folder / "test/0.tar"); }), ".txt:2: the line is written"));
  io::write_file_atomic(folder / kClassNamesFile, "'tench'\ngold's\n", false);
  EXPECT_EQ(class_names_near(folder / "test/0.tar").size(), 2U);
  std::filesystem::remove_all(folder);
}

TEST(PromptTemplate, BothPlacesAreOne) {
  EXPECT_EQ(with_class_place("{}, a {}"), "{c}, a {c}");
  EXPECT_EQ(with_class_place("{c} {}"), "{c} {}");
  EXPECT_FALSE(has_class_place(with_class_place("a photo")));
  EXPECT_EQ(filled_prompt("{c} and {c}", "a {c}"), "a {c} and a {c}");
}

TEST(Utf8, OverlongFormsAndSurrogatesAreNone) {
  EXPECT_TRUE(is_utf8("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"));
  for (const char* bad : {"\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\xFF", "caf\xE9"})
    EXPECT_FALSE(is_utf8(bad)) << bad;
}

TEST(TableForm, SeparatorAndColumnsOfTheHeader) {
  const TableWishes wishes{"", "filepath", "title"};
  const auto separator = [&](const std::string& text, const std::string& path) {
    return table_form(text, path, wishes).separator;
  };
  EXPECT_EQ(separator("filepath,title\n", "a.csv"), ',');
  EXPECT_EQ(separator("filepath\ttitle\n", "a.csv"), '\t');
  EXPECT_EQ(separator("\xEF\xBB\xBF"
                      "filepath;title\r\n",
                      "a.csv"),
            ';');
  EXPECT_EQ(separator("title|filepath", "a.tsv"), '|');
  EXPECT_EQ(separator("{\"filepath\": \"a\", \"title\": \"b\"}\n", "a.jsonl"), '\0');
  const auto fault = [](const std::string& text, const TableWishes& wish) {
    return fault_of([&] { table_form(text, "a.csv", wish); });
  };
  EXPECT_TRUE(
      has(fault("filepath;title\n", {",", "filepath", "title"}), "separated by semicolons, not commas"));
  EXPECT_TRUE(has(fault("path,title\n", wishes), "its columns are: path, title"));
  EXPECT_TRUE(has(fault(std::string("\xFF\xFE"
                                    "f\0i\0l\0e\0",
                                    10),
                        wishes),
                  "is UTF-16"));
  EXPECT_TRUE(has(fault("l\xE9gende,image\n", wishes), "not UTF-8"));
  EXPECT_TRUE(has(fault("\n", wishes), "is empty"));
  EXPECT_TRUE(has(fault("img/0.jpg,a cat\n", wishes), "has no header"));
  const auto lines = [&](const std::string& text, const TableWishes& with) {
    return fault_of([&] { table_form(text, "a.jsonl", with); });
  };
  EXPECT_EQ(lines("{\"filepath\": \"a\", \"score\": NaN, \"big\": 18446744073709551615}\n", wishes), "");
  EXPECT_TRUE(has(lines("{\"filepath\": }\n", wishes), "first line is no JSON object (line 1, column 14"))
      << lines("{\"filepath\": }\n", wishes);
  EXPECT_TRUE(has(lines("{\"filepath\": \"a\", \"title\": 1, \"title\": 2}", wishes),
                  "has the column \"title\" 2 times"));
  EXPECT_TRUE(has(lines("{\"filepath\": \"a\"}", {",", "filepath", "title"}), "no separator"));
  EXPECT_TRUE(has(fault("filepath,title,title\n", wishes), "has the column \"title\" 2 times"));
  EXPECT_EQ(fault("filepath,title,other,other\n", wishes), "");
  EXPECT_TRUE(has(fault("filepath;title;filepath\n", wishes), "has the column \"filepath\" 2 times"));
  EXPECT_TRUE(has(fault("filepath,title\ra.jpg,one\r", wishes), "carriage returns alone"));
  EXPECT_EQ(table_form("{\"file_name\":\"a\",\"text\":\"b\"}", "metadata.jsonl", wishes).caption_column,
            "text");
  EXPECT_EQ(table_form("file_name,text\n", "metadata.csv", {"", "filepath", "title", true}).image_column,
            "file_name");
}

TEST(Table, ParsesTabsQuotesAndOpenEnds) {
  using Rows = std::vector<Strings>;
  std::size_t open_quote = 0;
  const auto rows_of = [&](std::string_view text, char separator) {
    Rows rows;
    for (auto& row : parse_table(text, separator, open_quote)) rows.push_back(std::move(row.fields));
    return rows;
  };
  EXPECT_EQ(rows_of("a\tb\n1\t\"x\ty\"", '\t'), (Rows{{"a", "b"}, {"1", "x\ty"}}));
  EXPECT_EQ(rows_of("a,\n,b\n", ','), (Rows{{"a", ""}, {"", "b"}}));
  EXPECT_EQ(open_quote, 0U);
  EXPECT_EQ(rows_of("a\n\"b\nc\"\n\"open, end\n", ','), (Rows{{"a"}, {"b\nc"}, {"open, end\n"}}));
  EXPECT_EQ(open_quote, 4U);
  EXPECT_EQ(rows_of("\xEF\xBB\xBF"
                    "a\r\n\r\n",
                    ','),
            (Rows{{"a"}}));
  EXPECT_TRUE(rows_of("", ',').empty());
}

TEST(Natural, Order) {
  EXPECT_TRUE(natural_less("2.tar", "10.tar"));
  EXPECT_TRUE(natural_less("a2b", "a10a"));
  EXPECT_TRUE(natural_less("00002.tar", "10.tar"));
  EXPECT_FALSE(natural_less("x", "x"));
  EXPECT_NE(natural_less("1.tar", "01.tar"), natural_less("01.tar", "1.tar"));
  EXPECT_TRUE(natural_less("a", "ab"));
}

}  // namespace
}  // namespace trireme::jobs

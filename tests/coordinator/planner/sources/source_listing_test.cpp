#include "coordinator/planner/sources/source_listing.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "common/base/error.h"
#include "common/io/file.h"
#include "coordinator/planner/sources/shard_identity.h"
#include "tests/support/tar_writer.h"

namespace trireme::coordinator::planner {
namespace {
namespace fs = std::filesystem;

class SourceListing : public ::testing::Test {
 protected:
  SourceListing() { fs::create_directories(root_); }
  ~SourceListing() override { fs::remove_all(root_); }

  void put(const std::string& name, const std::string& bytes = "x") {
    io::write_file_atomic(root_ / name, bytes, false);
  }
  std::string at(const std::string& name) const { return (root_ / name).string(); }

  ListedSource listed(const std::string& name, jobs::DataFormat format = jobs::DataFormat::kAuto) {
    source.path = at(name);
    source.format = format;
    return list_source(source);
  }
  // What goes wrong, "" when nothing does.
  std::string fault(const std::string& name, jobs::DataFormat format = jobs::DataFormat::kAuto) {
    try {
      listed(name, format);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  static bool has(const std::string& text, const std::string& words) {
    return text.find(words) != std::string::npos;
  }

  jobs::SourceSpec source;
  fs::path root_ = fs::temp_directory_path() / ("trireme-sources-" + std::to_string(::getpid()));
};

std::string web_tar() {
  return testing::TarWriter().add("1.jpg", "j").add("1.json", "{}").add("1.txt", "one\ntwo").bytes();
}

TEST_F(SourceListing, FoldersOfTarsInNaturalOrder) {
  for (const char* name : {"a/10.tar", "a/9.tar", "a/00001.tar", "a/100.tar"}) put(name, web_tar());
  put("a/00001_stats.json");
  const ListedSource found = listed("a");
  EXPECT_EQ(found.format, jobs::DataFormat::kWebdataset);
  EXPECT_EQ(found.paths,
            (std::vector<std::string>{at("a/00001.tar"), at("a/9.tar"), at("a/10.tar"), at("a/100.tar")}));
  EXPECT_EQ(listed("a/9.tar").paths.size(), 1U);
  EXPECT_EQ(listed("a", jobs::DataFormat::kClipBenchmark).format, jobs::DataFormat::kClipBenchmark);
}

TEST_F(SourceListing, ClipBenchmarkLayouts) {
  put("c/test/nshards.txt", "2\n");
  put("c/test/0.tar");
  EXPECT_TRUE(has(fault("c"), "1.tar is missing"));
  put("c/test/1.tar");
  EXPECT_EQ(listed("c").paths, (std::vector<std::string>{at("c/test/0.tar"), at("c/test/1.tar")}));
  EXPECT_EQ(listed("c").format, jobs::DataFormat::kClipBenchmark);
  EXPECT_EQ(listed("c/test/0.tar").format, jobs::DataFormat::kClipBenchmark);
  put("c/train/nshards.txt", "1");
  put("c/train/0.tar");
  EXPECT_TRUE(has(fault("c"), at("c/train")));
  put("c/train/nshards.txt", "many");
  EXPECT_TRUE(has(fault("c/train"), "number of shards"));
}

TEST_F(SourceListing, TheFirstMembersTellTheLayout) {
  put("w.tar", web_tar());
  put("labels.tar", testing::TarWriter().add("s0.webp", "j").add("s0.cls", "3").bytes());
  put("texts.tar", testing::TarWriter().add("s0.jpg", "j").add("s0.txt", "one\ntwo\n").bytes());
  put("one.tar", testing::TarWriter().add("s0.jpg", "j").add("s0.txt", "one\n").bytes());
  put("noise.tar", std::string(5000, 'z'));
  EXPECT_EQ(listed("w.tar").format, jobs::DataFormat::kWebdataset);
  EXPECT_EQ(listed("labels.tar").format, jobs::DataFormat::kClipBenchmark);
  EXPECT_EQ(listed("texts.tar").format, jobs::DataFormat::kClipBenchmark);
  EXPECT_EQ(listed("one.tar").format, jobs::DataFormat::kWebdataset);
  EXPECT_EQ(listed("noise.tar").format, jobs::DataFormat::kWebdataset);
}

TEST_F(SourceListing, TablesAndWrongThings) {
  put("t.tsv", "filepath\ttitle\n");
  put("t.parquet");
  fs::create_directories(root_ / "empty");
  EXPECT_EQ(listed("t.tsv").format, jobs::DataFormat::kTable);
  put("t.json", "[]");
  EXPECT_TRUE(has(fault("t.parquet"), "read beside tars; pictures in one are not"));
  EXPECT_TRUE(has(fault("t.json"), "one document")) << fault("t.json");
  EXPECT_TRUE(has(fault("empty"), "no .tar"));
  EXPECT_TRUE(has(fault("empty", jobs::DataFormat::kTable), "a folder"));
  EXPECT_TRUE(has(fault("nowhere"), "no file or folder"));
  EXPECT_TRUE(has(fault("{0..9}.tar"), "no pattern"));
}

TEST_F(SourceListing, PackedShardsAreRefusedAlsoBesideGoodOnes) {
  put("p/0.tar", web_tar());
  put("p/1.tar.gz");
  EXPECT_TRUE(has(fault("p"), "1.tar.gz")) << fault("p");
  EXPECT_TRUE(has(fault("p"), "gunzip"));
  EXPECT_TRUE(has(fault("p/1.tar.gz"), "gunzip"));
  put("pairs.csv.gz");
  EXPECT_TRUE(has(fault("pairs.csv.gz"), "is a packed table")) << fault("pairs.csv.gz");
  put("p/1.tar", web_tar());
  EXPECT_EQ(listed("p").paths.size(), 2U) << "the archive of a shard that lies unpacked beside it";
  put("p/2.tar.part");
  put("p/._0.tar");
  put("p/sub/3.tar", web_tar());
  const ListedSource found = listed("p");
  EXPECT_EQ(found.paths.size(), 2U);
  ASSERT_EQ(found.notes.size(), 1U);
  EXPECT_TRUE(has(found.notes[0], "2.tar.part, sub/ (a folder of tars)")) << found.notes[0];
}

// One caption per text or per line: what most of the first texts have, and as it is set.
TEST_F(SourceListing, MostTextsDecideHowTheyAreRead) {
  const auto tar = [](int several, int one) {
    testing::TarWriter made;
    for (int i = 0; i < several + one; ++i)
      made.add(std::to_string(i) + ".jpg", "j").add(std::to_string(i) + ".txt", i < several ? "a\nb" : "a");
    return made.bytes();
  };
  put("few.tar", tar(4, 12));
  put("most.tar", tar(12, 4));
  EXPECT_EQ(listed("few.tar").format, jobs::DataFormat::kWebdataset);
  EXPECT_TRUE(
      has(listed("few.tar").decided, "captions: one per .txt (auto: 4 of the first 16 have several lines)"))
      << listed("few.tar").decided;
  EXPECT_EQ(listed("most.tar").format, jobs::DataFormat::kClipBenchmark);
  source.captions = jobs::CaptionForm::kLines;
  EXPECT_EQ(listed("few.tar").format, jobs::DataFormat::kClipBenchmark);
  source.captions = jobs::CaptionForm::kOne;
  EXPECT_EQ(listed("most.tar").format, jobs::DataFormat::kWebdataset);
}

TEST_F(SourceListing, TheKeyRuleIsShown) {
  put("d.tar", testing::TarWriter()
                   .add("Lake 2.1.jpg", "j")
                   .add("Lake 2.1.txt", "t")
                   .add("Lake 2.2.jpg", "j")
                   .add("Lake 2.2.txt", "t")
                   .bytes());
  EXPECT_TRUE(has(listed("d.tar").decided, "key: last_dot (auto)")) << listed("d.tar").decided;
  source.key = jobs::SampleKey::kFirstDot;
  EXPECT_TRUE(has(listed("d.tar").decided, "key: first_dot;")) << listed("d.tar").decided;
}

TEST_F(SourceListing, FoldersOfPictures) {
  for (const char* name :
       {"i/00000/1.jpg", "i/00000/1.txt", "i/00001/2.JPG", "i/00001/2.txt", "i/00002/._3.jpg"})
    put(name);
  const ListedSource found = listed("i");
  EXPECT_EQ(found.format, jobs::DataFormat::kFiles);
  EXPECT_EQ(found.paths, (std::vector<std::string>{at("i/00000"), at("i/00001")}));
  EXPECT_EQ(name_of(found.resolved.captions), "auto");
  EXPECT_TRUE(has(found.decided, "2 folders with 2 pictures; captions: one per .txt")) << found.decided;
  put("photos/cat/1.jpg");
  put("photos/dog/1.jpg");
  EXPECT_EQ(name_of(listed("photos").resolved.captions), "none");
  EXPECT_TRUE(has(listed("photos").decided, "the folders are no classes"));
  const ListedSource classes = listed("photos", jobs::DataFormat::kClassFolders);
  EXPECT_EQ(classes.classes, (std::vector<std::string>{"cat", "dog"}));
  fs::create_directories(root_ / "photos/empty");
  EXPECT_TRUE(has(fault("photos", jobs::DataFormat::kClassFolders), "without a picture: empty"));
  std::uint64_t bytes = 0;
  const auto before = identity_of(at("i/00000"), jobs::DataFormat::kFiles, bytes);
  EXPECT_EQ(bytes, 2U);
  put("i/00000/1.txt", "other");
  EXPECT_NE(identity_of(at("i/00000"), jobs::DataFormat::kFiles, bytes), before);
}

TEST_F(SourceListing, AnImageFoldersTable) {
  put("h/train/1.jpg");
  put("h/train/metadata.csv", "file_name,text\n1.jpg,one\n");
  const ListedSource found = listed("h");
  EXPECT_EQ(found.format, jobs::DataFormat::kTable);
  EXPECT_EQ(found.paths.at(0), at("h/train/metadata.csv"));
  EXPECT_EQ(found.resolved.image_column, "file_name");
  EXPECT_EQ(found.resolved.caption_column, "text");
  put("h/train/metadata.jsonl", "{\"file_name\": \"1.jpg\", \"text\": \"one\"}\n");
  EXPECT_TRUE(has(listed("h").decided, "JSON lines; pictures: column \"file_name\"")) << listed("h").decided;
  put("s.csv", "filepath;title\n1.jpg;one\n");
  EXPECT_EQ(listed("s.csv").resolved.separator, ";");
  EXPECT_TRUE(has(listed("s.csv").decided, "separated by semicolons (auto)"));
  source.caption_field = "text";
  EXPECT_TRUE(has(fault("s.csv"), "\"caption_field\" is set, and nothing reads it"));
  source = {};
  source.separator = ";";
  EXPECT_TRUE(has(fault("h/train/1.jpg"), "neither"));
  put("a.tar", web_tar());
  EXPECT_TRUE(has(fault("a.tar"), "\"separator\" is set"));
}

// Image folders of Hugging Face in parts: the tables are read, all of them, or it is said why not.
TEST_F(SourceListing, TablesOfSubFolders) {
  for (const char* name : {"m/a/1.jpg", "m/b/1.jpg", "m/b/deep/2.jpg"}) put(name);
  put("m/a/metadata.csv", "file_name,text\n1.jpg,one\n");
  put("m/b/metadata.jsonl", "{\"file_name\": \"1.jpg\", \"text\": \"two\"}\n");
  const ListedSource found = listed("m");
  EXPECT_EQ(found.format, jobs::DataFormat::kTable);
  EXPECT_EQ(found.paths, (std::vector<std::string>{at("m/a/metadata.csv"), at("m/b/metadata.jsonl")}));
  EXPECT_TRUE(has(found.decided, "and the same of 1 more")) << found.decided;
  EXPECT_EQ(listed("m", jobs::DataFormat::kFiles).paths.size(), 3U);
  ASSERT_EQ(listed("m", jobs::DataFormat::kFiles).notes.size(), 1U);
  EXPECT_TRUE(has(listed("m", jobs::DataFormat::kFiles).notes[0], at("m/a/metadata.csv")));
  put("m/c/3.jpg");
  EXPECT_TRUE(has(fault("m"), "those in " + at("m/c") + " by no table")) << fault("m");
  put("m/c/metadata.csv", "file_name,caption\n3.jpg,three\n");
  EXPECT_TRUE(has(fault("m"), "differ")) << fault("m");
  put("m/c/metadata.csv", "file_name,text,text\n3.jpg,three,four\n");
  EXPECT_TRUE(has(fault("m"), "\"text\" 2 times")) << fault("m");
  put("p/1.jpg");
  put("p/metadata.parquet", "PAR1");
  EXPECT_TRUE(has(fault("p"), "metadata.parquet tells about the pictures beside it")) << fault("p");
  put("p/metadata.csv", "file_name,text\n1.jpg,one\n");
  EXPECT_TRUE(has(listed("p").notes.at(0), "metadata.parquet"));
  put("k/1.jpg");
  put("k/captions.csv", "file,caption\n1.jpg,one\n");
  EXPECT_TRUE(has(listed("k").notes.at(0), "captions.csv")) << "pictures alone, and a table beside them";
}

}  // namespace
}  // namespace trireme::coordinator::planner

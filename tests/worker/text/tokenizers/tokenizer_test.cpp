#include "worker/text/tokenizers/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "common/base/error.h"
#include "worker/text/html_entities.h"
#include "worker/text/repair_text.h"
#include "worker/text/tokenizers/vocabulary_file.h"
#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

using Ids = std::vector<std::int64_t>;
const std::string kSource = TRIREME_SOURCE_DIR;

std::string weights_file(const std::string& name) {
  const char* const folder = std::getenv("TRIREME_WEIGHTS");
  return (folder != nullptr ? std::string(folder) : kSource + "/.trireme/weights") + "/" + name;
}

std::filesystem::path scratch_file(const std::string& name, const std::string& content) {
  const auto path = std::filesystem::temp_directory_path() / ("trireme_tokenizer_test_" + name);
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

class RealVocabulary : public ::testing::Test {
 protected:
  std::unique_ptr<Tokenizer> make(jobs::TokenizerKind kind) {
    const std::string file =
        weights_file(kind == jobs::TokenizerKind::kClipBpe ? "clip-merges.txt.gz" : "minilm-vocab.txt");
    if (!std::filesystem::exists(file)) return nullptr;
    return make_tokenizer({kind, file, 0});
  }
};

#define NEEDS(tokenizer) \
  if (!(tokenizer))      \
  GTEST_SKIP() << "weights are not installed: run ./quickstart build, or set TRIREME_WEIGHTS"

TEST_F(RealVocabulary, ClipGoldenIds) {
  const auto clip = make(jobs::TokenizerKind::kClipBpe);
  NEEDS(clip);
  EXPECT_EQ(clip->vocabulary_size(), 49408);
  EXPECT_EQ(clip->end_id(), 49407);
  const std::map<std::string, Ids> golden{
      {"a photo of a cat.", {320, 1125, 539, 320, 2368, 269}},
      {"hello world!", {3306, 1002, 256}},
      {"Hello World!", {3306, 1002, 256}},
      {"a diagram", {320, 22697}},
      {"a photo of a dog", {320, 1125, 539, 320, 1929}},
      {"a photo of a golden retriever.", {320, 1125, 539, 320, 3878, 28394, 269}},
      {"A black cat is chasing a small brown bird", {320, 1449, 2368, 533, 13376, 320, 2442, 2866, 3329}},
      {"it's 2023: naïve café", {585, 568, 273, 271, 273, 274, 281, 1097, 35689, 563, 15304}},
      {"itap of my tench.", {529, 2728, 539, 607, 1149, 634, 269}},
      {"  MiXeD   CASE's &amp; html ", {6780, 2068, 568, 261, 18231}},
      {"naïve café — 東京", {1097, 35689, 563, 15304, 2005, 48338, 21078, 361}},
      {"", {}},
      {"  \n\t ", {}}};
  for (const auto& [caption, ids] : golden) {
    Ids expected{49406};
    expected.insert(expected.end(), ids.begin(), ids.end());
    expected.push_back(49407);
    EXPECT_EQ(clip->encode(caption, 77).ids, expected) << caption;
  }
}

TEST_F(RealVocabulary, WordPieceGoldenIds) {
  const auto bert = make(jobs::TokenizerKind::kWordPiece);
  NEEDS(bert);
  EXPECT_EQ(bert->vocabulary_size(), 30522);
  EXPECT_EQ(bert->pad_id(), 0);
  const std::map<std::string, Ids> golden{
      {"a picture of", {1037, 3861, 1997}},
      {"a woman sitting on the beach with her dog", {1037, 2450, 3564, 2006, 1996, 3509, 2007, 2014, 3899}},
      {"A\x01 Picture\tOF\xc2\xad", {1037, 3861, 1997}},  // control characters, soft hyphen
      {"p\xc3\xad"
       "ctur\xc3\xa9 of",
       {3861, 1997}},  // accents
      {std::string(101, 'a'), {100}},
      {"", {}}};
  for (const auto& [caption, ids] : golden) {
    Ids expected{101};
    expected.insert(expected.end(), ids.begin(), ids.end());
    expected.push_back(102);
    EXPECT_EQ(bert->encode(caption, 64).ids, expected) << caption;
  }
}

TEST_F(RealVocabulary, TruncationKeepsTheEndMark) {
  for (const auto kind : {jobs::TokenizerKind::kClipBpe, jobs::TokenizerKind::kWordPiece}) {
    const auto tokenizer = make(kind);
    NEEDS(tokenizer);
    const Tokens exact = tokenizer->encode("a dog", 4), cut = tokenizer->encode("a dog runs", 4);
    EXPECT_EQ(exact.ids.size(), 4u);
    EXPECT_FALSE(exact.truncated);
    EXPECT_TRUE(cut.truncated);
    EXPECT_EQ(cut.ids, exact.ids);
    EXPECT_EQ(tokenizer->encode("a dog  ", 4).truncated, false);
  }
}

// A megabyte of anything ends soon and in range.
TEST_F(RealVocabulary, HostileCaptions) {
  const std::vector<std::string> captions{std::string(1 << 20, 'a'),      std::string(1 << 20, '!'),
                                          std::string(1 << 20, '\xff'),   std::string("\x00\xf0\x9f\x98", 4),
                                          "<start_of_text><end_of_text>", "&#0;&#xD800;&#99999999999;&"};
  for (const auto kind : {jobs::TokenizerKind::kClipBpe, jobs::TokenizerKind::kWordPiece}) {
    const auto tokenizer = make(kind);
    NEEDS(tokenizer);
    for (const std::string& caption : captions) {
      const Tokens tokens = tokenizer->encode(caption, 77);
      ASSERT_LE(tokens.ids.size(), 77u);
      for (const std::int64_t id : tokens.ids) ASSERT_TRUE(id >= 0 && id < tokenizer->vocabulary_size());
      EXPECT_EQ(tokens.ids.back(), tokenizer->end_id());
    }
  }
}

// What the switches change.
TEST_F(RealVocabulary, CleaningIsSwitchable) {
  const auto clip = make(jobs::TokenizerKind::kClipBpe);
  NEEDS(clip);
  const auto ids = [&](jobs::TokenizerSpec options, const std::string& caption) {
    options.vocabulary = weights_file(options.kind == jobs::TokenizerKind::kClipBpe ? "clip-merges.txt.gz"
                                                                                    : "minilm-vocab.txt");
    return make_tokenizer(options)->encode(caption, 64).ids;
  };
  const auto text = [&](const std::string& caption) {
    return ids({.kind = jobs::TokenizerKind::kClipBpe}, caption);
  };
  EXPECT_EQ(text("a&amp;amp;b"), text("a&b"));
  EXPECT_NE(ids({.kind = jobs::TokenizerKind::kClipBpe, .unescape_html = false}, "a&amp;b"), text("a&amp;b"));
  EXPECT_NE(ids({.kind = jobs::TokenizerKind::kClipBpe, .lower_case = false}, "A Dog"), text("A Dog"));
  EXPECT_NE(ids({.kind = jobs::TokenizerKind::kClipBpe, .collapse_space = false},
                "a\x1f"
                "b"),
            text("a\x1f"
                 "b"));
  EXPECT_EQ(ids({.kind = jobs::TokenizerKind::kClipBpe, .collapse_space = false}, "a  b"), text("a b"));
  const Ids plain = ids({.kind = jobs::TokenizerKind::kWordPiece}, "caf\xc3\xa9");
  EXPECT_EQ(plain, ids({.kind = jobs::TokenizerKind::kWordPiece}, "CAFE"));
  EXPECT_NE(ids({.kind = jobs::TokenizerKind::kWordPiece, .strip_accents = false}, "caf\xc3\xa9"), plain);
  EXPECT_NE(ids({.kind = jobs::TokenizerKind::kWordPiece, .lower_case = false}, "CAFE"), plain);
  const std::string runs = "\xe6\x9d\xb1\xe4\xba\xac";  // two ideographs
  EXPECT_NE(ids({.kind = jobs::TokenizerKind::kWordPiece, .split_ideographs = false}, runs),
            ids({.kind = jobs::TokenizerKind::kWordPiece}, runs));
}

TEST_F(RealVocabulary, Decoding) {
  const auto clip = make(jobs::TokenizerKind::kClipBpe), bert = make(jobs::TokenizerKind::kWordPiece);
  NEEDS(clip);
  const std::string caption = "It's a photo, isn't it?";
  EXPECT_EQ(clip->decode(clip->encode(caption, 77).ids), "it 's a photo , isn 't it ? ");
  EXPECT_EQ(bert->decode(bert->encode("Unaffable tokenizers", 77).ids), "unaffable tokenizers");
  EXPECT_EQ(clip->decode({}), "");
  for (const auto* tokenizer : {clip.get(), bert.get()}) {
    EXPECT_THROW(tokenizer->decode(Ids{tokenizer->vocabulary_size()}), Error);
    EXPECT_THROW(tokenizer->decode(Ids{-1}), Error);
  }
  EXPECT_THROW(make_tokenizer({jobs::TokenizerKind::kHashedWords})->decode(Ids{4}), Error);
}

TEST(HashedWords, Properties) {
  const auto words = make_tokenizer({jobs::TokenizerKind::kHashedWords, "", 4096});
  EXPECT_EQ(words->vocabulary_size(), 4096);
  const Tokens tokens = words->encode("A red cube, left of 2 spheres.", 77);
  EXPECT_EQ(tokens.ids.size(), 2u + 9u);  // nine words and marks
  EXPECT_EQ(tokens.ids.front(), 1);
  EXPECT_EQ(tokens.ids.back(), words->end_id());
  EXPECT_EQ(words->encode("a RED  cube , left of 2 spheres .", 77).ids, tokens.ids);
  EXPECT_EQ(words->encode("caf\xc3\xa9", 9).ids, words->encode("CAFE\xcc\x81", 9).ids);  // NFC
  EXPECT_NE(words->encode("red", 9).ids, words->encode("blue", 9).ids);
  const Tokens cut = words->encode("a b c d", 4);
  EXPECT_TRUE(cut.truncated);
  EXPECT_EQ(cut.ids.size(), 4u);
  EXPECT_EQ(cut.ids.back(), words->end_id());
  EXPECT_THROW(make_tokenizer({jobs::TokenizerKind::kHashedWords, "", 3}), Error);
}

// What ftfy makes of broken texts: pairs of JSON strings, recorded by tests/oracles/record_tokenizers.py.
TEST(RepairText, EqualsFtfyOnItsKindsOfDamage) {
  const auto unquoted = [](const std::string& json) {
    std::string text;
    for (std::size_t at = 1; at + 1 < json.size(); ++at) {
      if (json[at] != '\\') {
        text += json[at];
        continue;
      }
      const char kind = json[++at];
      const auto unit = [&](std::size_t from) {
        return static_cast<std::int32_t>(std::stoul(json.substr(from, 4), nullptr, 16));
      };
      if (kind == 'u') {
        std::int32_t code_point = unit(at + 1);
        at += 4;
        if (code_point >= 0xd800 && code_point < 0xdc00) {
          code_point = 0x10000 + ((code_point - 0xd800) << 10) + unit(at + 3) - 0xdc00;
          at += 6;
        }
        append_code_point(text, code_point);
      } else {
        text += kind == 'n' ? '\n' : kind == 't' ? '\t' : kind == 'r' ? '\r' : kind == 'f' ? '\f' : kind;
      }
    }
    return text;
  };
  const std::vector<std::string> lines = read_vocabulary_lines(kSource + "/tests/golden/repaired.txt");
  EXPECT_GE(lines.size(), 20u);
  for (const std::string& line : lines) {
    const std::size_t tab = line.find('\t');
    EXPECT_EQ(repair_text(unquoted(line.substr(0, tab))), unquoted(line.substr(tab + 1))) << line;
  }
  EXPECT_EQ(repair_text(std::string(1 << 20, '\xc3')).size(), std::size_t{3} << 20);  // ends soon
}

TEST(Html, Entities) {
  EXPECT_EQ(unescape_html("a &amp; b &lt;i&gt; &#39;x&#x27; &eacute;&eacute &nbsp;&unknown; &"),
            "a & b <i> 'x' \xc3\xa9\xc3\xa9 \xc2\xa0&unknown; &");
  EXPECT_EQ(unescape_html("&NotEqualTilde;&Tab;&lt"), "\xe2\x89\x82\xcc\xb8\t<");
  EXPECT_EQ(unescape_html("&ampamp; &#128; &#1; &notit;"), "&amp; \xe2\x82\xac  \xc2\xacit;");
  EXPECT_EQ(unescape_html("&&&#;&#x;"), "&&&#;&#x;");
}

TEST(VocabularyFile, FaultsNameFileAndLine) {
  EXPECT_THROW(make_tokenizer({jobs::TokenizerKind::kClipBpe, "/nowhere/merges.txt", 0}), Error);
  const auto bad = scratch_file("merges.txt", "#version\na b\nab c\nq\n");
  try {
    make_tokenizer({jobs::TokenizerKind::kClipBpe, bad.string(), 0});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(error.what()).find("line 4"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(bad.string()), std::string::npos) << error.what();
  }
  const auto no_special = scratch_file("vocab.txt", "[PAD]\n[UNK]\na\n");
  EXPECT_THROW(make_tokenizer({jobs::TokenizerKind::kWordPiece, no_special.string(), 0}), Error);
  const auto twice = scratch_file("twice.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n");
  EXPECT_THROW(make_tokenizer({jobs::TokenizerKind::kWordPiece, twice.string(), 0}), Error);
  const auto hole = scratch_file("hole.txt", "[PAD]\n[UNK]\n\n[CLS]\n[SEP]\n");
  try {
    make_tokenizer({jobs::TokenizerKind::kWordPiece, hole.string()});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("hole.txt:3: the line is empty"), std::string::npos)
        << error.what();
  }
  const auto truncated = scratch_file("cut.gz", std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b", 11));
  EXPECT_THROW(make_tokenizer({jobs::TokenizerKind::kClipBpe, truncated.string(), 0}), Error);
}

// Small enough to follow by hand: merges "a b", then "ab c</w>".
TEST(ClipBpe, MergesLowestRankFirst) {
  const auto path = scratch_file("small.txt", "#version\na b\nab c</w>\n");
  const auto clip = make_tokenizer({jobs::TokenizerKind::kClipBpe, path.string(), 0});
  EXPECT_EQ(clip->vocabulary_size(), 516);
  EXPECT_EQ(clip->encode("abc", 9).ids, (Ids{514, 513, 515}));
  EXPECT_EQ(clip->encode("!", 9).ids, (Ids{514, 256, 515}));
  EXPECT_EQ(clip->encode("abab", 9).ids, (Ids{514, 512, 'a' - '!', 'b' - '!' + 256, 515}));
}

}  // namespace
}  // namespace trireme::worker::text

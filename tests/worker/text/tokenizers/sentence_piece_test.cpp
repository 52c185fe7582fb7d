#include "worker/text/tokenizers/sentence_piece.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/base/error.h"

namespace trireme::worker::text {
namespace {

const std::string kFolder = std::string(TRIREME_SOURCE_DIR) + "/tests/golden/sentencepiece/";

// transformers' ids (tests/oracles/record_sentencepiece.py).
TEST(SentencePiece, MakesTheIdsOfTransformers) {
  std::ifstream lines(kFolder + "ids.txt");
  int rows = 0;
  for (std::string marks, caption, ids;
       std::getline(lines, marks, '\t') && std::getline(lines, caption, '\t') && std::getline(lines, ids);
       ++rows) {
    const SentencePiece tokenizer(kFolder + marks + ".model", *from_name<jobs::TokenMarks>(marks));
    std::istringstream expected(ids);
    const std::vector<std::int64_t> wanted{std::istream_iterator<std::int64_t>(expected), {}};
    EXPECT_EQ(tokenizer.encode(nlohmann::json::parse(caption).get<std::string>(), 24).ids, wanted)
        << marks << caption;
  }
  EXPECT_EQ(rows, 18);
}

TEST(SentencePiece, HasTheMarksOfItsFamily) {
  const SentencePiece t5(kFolder + "t5.model", jobs::TokenMarks::kT5),
      siglip(kFolder + "t5.model", jobs::TokenMarks::kSiglip),
      xlm(kFolder + "xlm_roberta.model", jobs::TokenMarks::kXlmRoberta);
  EXPECT_EQ(t5.pad_id(), 0);
  EXPECT_EQ(t5.end_id(), 1);
  EXPECT_EQ(siglip.pad_id(), 1);
  EXPECT_EQ(xlm.pad_id(), 1);
  EXPECT_EQ(xlm.end_id(), 2);
  EXPECT_EQ(xlm.vocabulary_size(), t5.vocabulary_size() + 2);
  EXPECT_EQ(t5.decode(t5.encode("a photo of a dog", 64).ids), "a photo of a dog");
  EXPECT_EQ(xlm.decode(xlm.encode("a photo of a dog", 64).ids), "a photo of a dog");
  EXPECT_THROW(SentencePiece(kFolder + "ids.txt", jobs::TokenMarks::kT5), Error);
  EXPECT_THROW(SentencePiece("/nowhere", jobs::TokenMarks::kT5), Error);
}

// The library throws at an empty piece, a type of its own.
TEST(SentencePiece, AFileThatTheLibraryDoesNotTakeIsNamed) {
  std::ostringstream whole;
  whole << std::ifstream(kFolder + "t5.model", std::ios::binary).rdbuf();
  std::string bytes = whole.str();
  const std::string piece = "\x0a\x08\x0a\x01s\x15", empty("\x0a\x07\x0a\x00\x15", 5);
  ASSERT_NE(bytes.find(piece), std::string::npos);
  bytes.replace(bytes.find(piece), piece.size(), empty);
  const std::string file = ::testing::TempDir() + "/trireme-empty-piece.model";
  std::ofstream(file, std::ios::binary) << bytes;
  try {
    const SentencePiece tokenizer(file, jobs::TokenMarks::kT5);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(file + " is not a SentencePiece model"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace trireme::worker::text
